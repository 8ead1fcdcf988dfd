"""Stored traces with their verdicts, as a report speaks of them: read back from the `tracead.*` attributes."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from google.protobuf.message import DecodeError
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from otel_tracead.traces.identity import earliest_root
from otel_tracead.traces.labels import status_text
from otel_tracead.traces.trace import Trace
from otel_tracead.wire.values import text

_PREFIX: Final = "tracead."
_VERDICT: Final = (b"tracead.trace.anomalous", b"tracead.unscored")
_ERROR: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """What a marked span carries; absent attributes are None or empty (see the contract of span attributes)."""

    type: str
    level: str
    score: float
    rank: int | None = None
    probability: float | None = None
    expected: tuple[str, ...] = ()
    expected_ms: float | None = None
    upper_ms: float | None = None

    @property
    def structural(self) -> bool:
        """Whether it came where it was not expected, or should have made calls that are missing."""
        return self.type in {"structural", "both"}

    @property
    def slow(self) -> bool:
        """Whether it took too long."""
        return self.type in {"response_time", "both"}


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotatedSpan:
    """A span of a trace in tree order.

    Attributes:
        span_id: 8 bytes.
        service: name of its service.
        name: of the span.
        start_unix_nano: by its host's clock.
        duration_ms: never negative.
        depth: how many callers it has in the trace.
        error: whether its status says so.
        status: what its label says of its status: an HTTP or gRPC code, `ERROR` or nothing.
        mark: if it is anomalous.
    """

    span_id: bytes
    service: str
    name: str
    start_unix_nano: int
    duration_ms: float
    depth: int
    error: bool
    mark: Mark | None
    status: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotatedTrace:
    """A trace with its verdict.

    Attributes:
        trace_id: 16 bytes.
        start_unix_nano: of its verdict span.
        span_count: how many spans it has.
        anomalous: whether it was marked; False if it was not scored.
        score: of the trace.
        level: if it is anomalous.
        missing: labels that should have come and did not.
        unscored: why it was not scored, or None.
        spans: in tree order; of an anomalous trace only.
    """

    trace_id: bytes
    start_unix_nano: int
    span_count: int
    anomalous: bool = False
    score: float = 0.0
    level: str = ""
    missing: tuple[str, ...] = ()
    unscored: str | None = None
    spans: Sequence[AnnotatedSpan] = field(default=())

    @property
    def marked(self) -> list[AnnotatedSpan]:
        """The anomalous spans, in tree order."""
        return [span for span in self.spans if span.mark is not None]


def read_trace(trace: Trace) -> AnnotatedTrace:
    """Read the verdict of a trace that the stage annotated; only an anomalous trace is read in full."""
    verdict = _verdict_span(trace.spans)
    attributes = _own(verdict)
    anomalous = attributes.get("trace.anomalous") is True
    unscored = attributes.get("unscored")
    return AnnotatedTrace(
        trace_id=trace.trace_id,
        start_unix_nano=verdict.start_time_unix_nano,
        span_count=len(trace.spans),
        anomalous=anomalous,
        score=_number(attributes.get("trace.score")) or 0.0,
        level=str(attributes.get("trace.level", "")),
        missing=_texts(attributes.get("trace.missing")),
        unscored=None if unscored is None else str(unscored),
        spans=_tree(trace) if anomalous else (),
    )


def _verdict_span(spans: Sequence[bytes]) -> Span:
    for span in spans:
        if any(key in span for key in _VERDICT):
            parsed = _parsed(span)
            if not {"trace.anomalous", "unscored"}.isdisjoint(_own(parsed)):
                return parsed
    return _parsed(spans[earliest_root(spans)])


def _parsed(span: bytes) -> Span:
    try:
        return Span.FromString(span)
    except DecodeError:
        return Span()


def _tree(trace: Trace) -> list[AnnotatedSpan]:
    """Order spans depth first, siblings by start; whatever has no caller here begins a tree, and cycles are cut."""
    spans = [_parsed(span) for span in trace.spans]
    index: dict[bytes, int] = {}
    for place, span in enumerate(spans):
        index.setdefault(span.span_id, place)
    children: dict[int, list[int]] = {}
    roots: list[int] = []
    by_start = sorted(range(len(spans)), key=lambda place: (spans[place].start_time_unix_nano, place))
    for place in by_start:
        parent = index.get(spans[place].parent_span_id)
        if parent is None or parent == place:
            roots.append(place)
        else:
            children.setdefault(parent, []).append(place)
    ordered: list[AnnotatedSpan] = []
    seen: set[int] = set()
    for first in (*roots, *by_start):  # the second time round finds those in a cycle
        stack = [(first, 0)]
        while stack:
            place, depth = stack.pop()
            if place in seen:
                continue
            seen.add(place)
            ordered.append(_span(spans[place], trace.envelopes[place].service, depth))
            stack += [(child, depth + 1) for child in reversed(children.get(place, ()))]
    return ordered


def _span(span: Span, service: str, depth: int) -> AnnotatedSpan:
    own = _own(span)
    mark = None
    if own.get("anomaly.detected") is True:
        rank = own.get("structure.rank")
        mark = Mark(
            type=str(own.get("anomaly.type", "")),
            level=str(own.get("anomaly.level", "")),
            score=_number(own.get("anomaly.score")) or 0.0,
            rank=rank if isinstance(rank, int) else None,
            probability=_number(own.get("structure.probability")),
            expected=_texts(own.get("structure.expected")),
            expected_ms=_number(own.get("response_time.expected_ms")),
            upper_ms=_number(own.get("response_time.upper_ms")),
        )
    return AnnotatedSpan(
        span_id=span.span_id,
        service=service,
        name=span.name,
        start_unix_nano=span.start_time_unix_nano,
        duration_ms=max(0, span.end_time_unix_nano - span.start_time_unix_nano) / 1e6,
        depth=depth,
        error=span.status.code == _ERROR,
        status=status_text(span.status.code, {pair.key: text(pair.value) for pair in span.attributes}),
        mark=mark,
    )


def _own(span: Span) -> dict[str, Any]:
    return {
        pair.key.removeprefix(_PREFIX): _value(pair.value) for pair in span.attributes if pair.key.startswith(_PREFIX)
    }


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(item) for item in value.array_value.values]
    return None if kind is None else getattr(value, kind)


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list) else ()
