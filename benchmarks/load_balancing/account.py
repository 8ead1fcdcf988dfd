"""What became of the spans: every one that was sent is held against those that came out, and every trace against its verdicts."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

_VERDICT: Final = {"tracead.trace.anomalous", "tracead.unscored"}  # one of them stands where a trace was judged


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Of one run.

    Attributes:
        sent: spans.
        lost: spans that did not come out.
        lost_by_others: of those, spans that no killed replica had taken.
        doubled: spans that came out more often than once.
        traces: that were sent.
        split: traces with more than one verdict: their parts were judged apart.
        moved: traces whose spans came out of more than one replica.
        unjudged: traces without a verdict of which a span came out.
        marked: traces marked as anomalous, of those with one verdict.
        split_marked: of those with more than one.
        late: spans that came after their trace's verdict.
        retries: requests that were sent again.
    """

    sent: int
    lost: int
    lost_by_others: int
    doubled: int
    traces: int
    split: int
    moved: int
    unjudged: int
    marked: int
    split_marked: int
    late: int
    retries: int


def spans_of(bodies: Iterable[bytes]) -> Iterable[Span]:
    """Walk over the spans of requests."""
    for body in bodies:
        for resource_spans in ExportTraceServiceRequest.FromString(body).resource_spans:
            for scope_spans in resource_spans.scope_spans:
                yield from scope_spans.spans


def account(
    sent: Iterable[bytes], received: Mapping[str, list[bytes]], taken_by_killed: Iterable[bytes], retries: int
) -> Outcome:
    """Hold what was *sent* against what each replica handed on (*received*, by endpoint)."""
    before = Counter((span.trace_id, span.span_id) for span in spans_of(sent))
    after: Counter[tuple[bytes, bytes]] = Counter()
    verdicts: Counter[bytes] = Counter()
    anomalous: set[bytes] = set()
    places: dict[bytes, set[str]] = {}
    late = 0
    for endpoint, bodies in received.items():
        for span in spans_of(bodies):
            after[span.trace_id, span.span_id] += 1
            places.setdefault(span.trace_id, set()).add(endpoint)
            own = {
                attribute.key: attribute.value for attribute in span.attributes if attribute.key.startswith("tracead.")
            }
            late += "tracead.late" in own
            if _VERDICT & own.keys():
                verdicts[span.trace_id] += 1
                if own.get("tracead.trace.anomalous") and own["tracead.trace.anomalous"].bool_value:
                    anomalous.add(span.trace_id)
    lost = before - after
    killed = Counter((span.trace_id, span.span_id) for span in spans_of(taken_by_killed))
    split = {trace_id for trace_id, count in verdicts.items() if count > 1}
    return Outcome(
        sent=before.total(),
        lost=lost.total(),
        lost_by_others=(lost - killed).total(),
        doubled=(after - before).total(),
        traces=len({trace_id for trace_id, _ in before}),
        split=len(split),
        moved=sum(len(found) > 1 for found in places.values()),
        unjudged=len(places.keys() - verdicts.keys()),
        marked=len(anomalous - split),
        split_marked=len(anomalous & split),
        late=late,
        retries=retries,
    )
