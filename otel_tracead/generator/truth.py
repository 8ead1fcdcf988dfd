"""What really happened: the injected faults, the traces that they hit, and the calls that the shop can make."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson

from otel_tracead.generator.faults import Fault
from otel_tracead.generator.semantics import Kind, client_kind, server_kind
from otel_tracead.generator.spans import SimulatedSpan
from otel_tracead.generator.topology import (
    Cached,
    Call,
    Internal,
    Operation,
    Parallel,
    Publish,
    Repeat,
    Step,
    Topology,
)

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True, order=True)
class Label:
    """A span as a place in the call graph; `peer` is the `server.address` of a client's or producer's span."""

    service: str
    kind: int
    name: str
    peer: str = ""

    @classmethod
    def of(cls, span: SimulatedSpan) -> "Label":
        """Return the label of a span."""
        peer = ""
        if span.kind in {Kind.CLIENT, Kind.PRODUCER}:
            peer = str(next(value for key, value in span.attributes if key == "server.address"))
        return cls(span.origin.service.name, int(span.kind), span.name, peer)


@dataclass(frozen=True, slots=True)
class Siblings:
    """Spans that one caller makes in one step of its plan.

    Groups of the same caller come one after the other: each depends on the one before. Within a `concurrent` group
    any order may be seen. Without `certain`, the group may be absent from a trace, or come several times.
    """

    caller: Label
    position: int
    callees: tuple[Label, ...]
    concurrent: bool
    certain: bool


@dataclass(frozen=True, slots=True)
class CallGraph:
    """The true call graph of one root operation, retries and faults left out."""

    root: Label
    groups: tuple[Siblings, ...]

    @property
    def edges(self) -> frozenset[tuple[Label, Label]]:
        """All pairs of caller and callee."""
        return frozenset((group.caller, callee) for group in self.groups for callee in group.callees)


@dataclass(slots=True)
class AffectedTrace:
    """A trace that a fault really changed.

    `fault` counts in `Truth.faults`, and `service` is that fault's. `span_ids` are the spans that carry the fault, in
    the order in which it came to them: for slow_service, lock_contention and error the service's own (of a database:
    its caller's), for missing_call and abort the span that should have called, for changed_order that and then the
    call that came too early, for slow_edge and retry_storm the caller's client spans (of a retry storm those whose
    answer got lost), for new_operation the new span. `start_unix_nano` is the trace's start, `extra_ms` the time
    that the fault itself added (waiting in line behind others not counted), `missing` the operations that were not
    called, as `service name`.
    """

    trace_id: bytes
    fault: int
    kind: str
    service: str
    start_unix_nano: int
    span_ids: list[bytes] = field(default_factory=list)
    extra_ms: float = 0.0
    missing: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Truth:
    """Ground truth of a simulation; `traces` is complete once the simulation has been read to its end."""

    start_unix_nano: int
    faults: tuple[Fault, ...]
    call_graphs: tuple[CallGraph, ...]
    traces: list[AffectedTrace] = field(default_factory=list)

    def to_json(self) -> bytes:
        """Return the truth as JSON: ids in lower-case hex, times in nanoseconds as strings, as in OTLP/JSON."""
        return orjson.dumps(
            {
                "schema_version": SCHEMA_VERSION,
                "start_unix_nano": str(self.start_unix_nano),
                "faults": self.faults,
                "traces": [_trace_json(trace) for trace in self.traces],
                "call_graphs": self.call_graphs,
            },
            option=orjson.OPT_INDENT_2,
        )

    @classmethod
    def from_json(cls, text: bytes) -> "Truth":
        """Read what `to_json` wrote.

        Raises:
            ValueError: not JSON, or not in this form; the message says what is wrong.
        """
        try:
            data = _checked(orjson.loads(text))
            return cls(
                start_unix_nano=int(data["start_unix_nano"]),
                faults=tuple(Fault(**fault) for fault in data["faults"]),
                call_graphs=tuple(_graph(graph) for graph in data["call_graphs"]),
                traces=[_trace(trace) for trace in data["traces"]],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"not a truth file of otel-tracead generate: {error}") from error


def _checked(data: dict[str, Any]) -> dict[str, Any]:
    if data["schema_version"] != SCHEMA_VERSION:
        raise ValueError(f"schema_version {data['schema_version']}, known is {SCHEMA_VERSION}")
    return data


def _trace_json(trace: AffectedTrace) -> dict[str, Any]:
    return {
        "trace_id": trace.trace_id.hex(),
        "fault": trace.fault,
        "kind": trace.kind,
        "service": trace.service,
        "start_unix_nano": str(trace.start_unix_nano),
        "span_ids": [span_id.hex() for span_id in trace.span_ids],
        "extra_ms": trace.extra_ms,
        "missing": trace.missing,
    }


def _trace(data: dict[str, Any]) -> AffectedTrace:
    ids = {
        "trace_id": bytes.fromhex(data["trace_id"]),
        "span_ids": [bytes.fromhex(span_id) for span_id in data["span_ids"]],
        "start_unix_nano": int(data["start_unix_nano"]),
    }
    return AffectedTrace(**(data | ids))


def _graph(data: dict[str, Any]) -> CallGraph:
    groups = (
        Siblings(
            Label(**group["caller"]),
            group["position"],
            tuple(Label(**callee) for callee in group["callees"]),
            group["concurrent"],
            group["certain"],
        )
        for group in data["groups"]
    )
    return CallGraph(Label(**data["root"]), tuple(groups))


def call_graphs(topology: Topology) -> tuple[CallGraph, ...]:
    """Return the call graph of every root operation."""
    return tuple(
        CallGraph(_server(root), tuple(dict.fromkeys(_groups(root, root.steps, _server(root)))))
        for root, _ in topology.roots
    )


def _server(operation: Operation) -> Label:
    return Label(operation.service.name, int(server_kind(operation)), operation.name)


def _client(owner: Operation, called: Operation) -> Label:
    return Label(owner.service.name, int(client_kind(called)), called.client_name, called.service.name)


def _groups(owner: Operation, steps: tuple[Step, ...], caller: Label) -> Iterator[Siblings]:
    """Yield the groups below a span of `owner`, which runs `steps`."""
    for position, (calls, concurrent, certain) in enumerate(_flat(steps, certain=True)):
        yield Siblings(caller, position, tuple(_label(owner, step) for step in calls), concurrent, certain)
        for step in calls:
            label = _label(owner, step)
            if isinstance(step, Internal):
                yield from _groups(owner, step.steps, label)
                continue
            reached = step.consumers if isinstance(step, Publish) else (step.operation,)
            seen = tuple(operation for operation in reached if operation.service.traced)
            if seen:
                yield Siblings(label, 0, tuple(map(_server, seen)), len(seen) > 1, certain=True)
            for operation in seen:
                yield from _groups(operation, operation.steps, _server(operation))


def _label(owner: Operation, step: Call | Internal | Publish) -> Label:
    if isinstance(step, Internal):
        return Label(owner.service.name, int(Kind.INTERNAL), step.name)
    return _client(owner, step.send.operation if isinstance(step, Publish) else step.operation)


_Flat = tuple[tuple[Call | Internal | Publish, ...], bool, bool]


def _flat(steps: tuple[Step, ...], *, certain: bool) -> Iterator[_Flat]:
    """Yield what one span does, step by step: what is called, whether at once, whether always exactly once."""
    for step in steps:
        match step:
            case Call():
                yield (step,), False, certain and step.probability >= 1
            case Repeat():
                yield from _flat(step.steps, certain=False)
            case Cached():
                yield from _flat((step.lookup,), certain=certain)
                yield from _flat(step.miss, certain=False)
            case Parallel():
                inner = [flat for call in step.calls for flat in _flat((call,), certain=certain)]
                calls = tuple(call for group, _, _ in inner for call in group)
                yield calls, True, all(sure for _, _, sure in inner)
            case _:
                yield (step,), False, certain
