"""The simulated shop as programs of its own: `python -m tests.peers.end_to_end.applications PLAN`.

Each program speaks for some of the shop's services and replays what they do, in the order and at the times of the
simulation, only faster. What makes, batches and sends the spans is not ours: the OpenTelemetry SDK with its exporters of
OTLP, and aiozipkin. A program says that it is ready by the file PLAN.ready, and begins with PLAN.go.
"""

import asyncio
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import aiozipkin
import orjson
from aiozipkin.helpers import TraceContext
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from otel_tracead.generator import Fault, Scenario, SimulatedSpan, simulate

Way = Literal["otlp_grpc", "otlp_http", "zipkin"]
_KINDS = {1: SpanKind.INTERNAL, 2: SpanKind.SERVER, 3: SpanKind.CLIENT, 4: SpanKind.PRODUCER, 5: SpanKind.CONSUMER}
_ZIPKIN_KINDS = {2: "SERVER", 3: "CLIENT", 4: "PRODUCER", 5: "CONSUMER"}
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)


@dataclass(frozen=True)
class Plan:
    """What one program does: it speaks for *services* of *scenario*, *speed* times as fast, to *endpoint*."""

    scenario: Scenario
    services: list[str]
    way: Way
    endpoint: str
    speed: float

    def write(self, path: Path) -> None:
        path.write_bytes(orjson.dumps(asdict(self)))

    @classmethod
    def read(cls, path: Path) -> "Plan":
        data = orjson.loads(path.read_bytes())
        faults = tuple(Fault(**fault) for fault in data["scenario"].pop("faults"))
        return cls(**{**data, "scenario": Scenario(**data["scenario"], faults=faults)})


def wait_for_start(path: Path) -> None:
    path.with_suffix(".ready").touch()
    while not path.with_suffix(".go").exists():
        time.sleep(0.01)


def replayed(plan: Plan) -> Iterator[tuple[float, SimulatedSpan]]:
    """Yield the spans of the plan's services, each with the seconds to wait until it ends."""
    begin = time.monotonic()
    for span in simulate(plan.scenario).spans:
        if span.origin.service.name in plan.services:
            yield max(0.0, begin + span.ended_s / plan.speed - time.monotonic()), span


# --- the OpenTelemetry SDK --------------------------------------------------------------------------------------------


class GivenIds(IdGenerator):
    """Gives the ids of the span that is replayed, so that several programs speak of the same trace."""

    span: SimulatedSpan

    def generate_trace_id(self) -> int:
        return int.from_bytes(self.span.trace_id, "big")

    def generate_span_id(self) -> int:
        return int.from_bytes(self.span.span_id, "big")


def _context(trace_id: bytes, span_id: bytes, *, remote: bool) -> SpanContext:
    return SpanContext(int.from_bytes(trace_id, "big"), int.from_bytes(span_id, "big"), remote, _SAMPLED)


def otlp_exporter(way: Way, endpoint: str) -> SpanExporter:
    """One of the SDK's exporters; both batch, compress and retry as they come."""
    if way == "otlp_grpc":
        from opentelemetry.exporter.otlp.proto.grpc import trace_exporter

        return trace_exporter.OTLPSpanExporter(endpoint=endpoint, insecure=True)
    from opentelemetry.exporter.otlp.proto.http import trace_exporter as over_http

    return over_http.OTLPSpanExporter(endpoint=f"{endpoint}/v1/traces")


def provider(resource: dict[str, Any], way: Way, endpoint: str, ids: IdGenerator | None = None) -> TracerProvider:
    """What an application sets up once, with the SDK's defaults."""
    made = TracerProvider(resource=Resource.create(resource), id_generator=ids)
    made.add_span_processor(BatchSpanProcessor(otlp_exporter(way, endpoint)))
    return made


def replay_with_sdk(plan: Plan) -> None:
    ids = GivenIds()
    providers: dict[str, TracerProvider] = {}
    for wait, span in replayed(plan):
        time.sleep(wait)
        origin = span.origin
        if origin.pod not in providers:
            providers[origin.pod] = provider(dict(origin.resource()), plan.way, plan.endpoint, ids)
        tracer = providers[origin.pod].get_tracer(origin.service.scope, origin.service.scope_version)
        ids.span = span
        parent = Context()
        if span.parent_span_id:
            remote = span.kind in {2, 5}
            parent = set_span_in_context(
                NonRecordingSpan(_context(span.trace_id, span.parent_span_id, remote=remote)), parent
            )
        started = tracer.start_span(
            span.name,
            context=parent,
            kind=_KINDS[span.kind],
            attributes=dict(span.attributes),
            links=[
                Link(_context(link.trace_id, link.span_id, remote=True), dict(link.attributes)) for link in span.links
            ],
            start_time=span.start_unix_nano,
        )
        for event in span.events:
            started.add_event(event.name, dict(event.attributes), event.time_unix_nano)
        if span.error:
            started.set_status(Status(StatusCode.ERROR, span.message))
        started.end(span.end_unix_nano)
    for one in providers.values():
        one.shutdown()


# --- a Zipkin tracer --------------------------------------------------------------------------------------------------


async def replay_with_zipkin(plan: Plan) -> None:
    """A Zipkin tracer says `error` for a failure, has text in its tags, and no word for an internal span."""
    tracers = {}
    for service in plan.services:
        address = f"{plan.endpoint}/api/v2/spans"
        tracers[service] = await aiozipkin.create(
            address, aiozipkin.create_endpoint(service), sample_rate=1.0, send_interval=1
        )
    for wait, span in replayed(plan):
        await asyncio.sleep(wait)
        context = TraceContext(
            trace_id=span.trace_id.hex(),
            parent_id=span.parent_span_id.hex() or None,
            span_id=span.span_id.hex(),
            sampled=True,
            debug=False,
            shared=False,
        )
        # With their exact ids, as `new_child` would have made them.
        reported = tracers[span.origin.service.name].to_span(context)
        reported.name(span.name).start(span.start_unix_nano / 1e9)
        if span.kind in _ZIPKIN_KINDS:
            reported.kind(_ZIPKIN_KINDS[span.kind])
        else:
            reported.tag("span.kind", "internal")
        for key, value in span.attributes:
            reported.tag(key, str(value).lower() if isinstance(value, bool) else str(value))
        for event in span.events:
            reported.annotate(event.name, event.time_unix_nano / 1e9)
        if span.error:
            reported.tag("error", span.message)
        reported.finish(span.end_unix_nano / 1e9)
    for tracer in tracers.values():
        await tracer.close()


def main() -> None:
    path = Path(sys.argv[1])
    plan = Plan.read(path)
    wait_for_start(path)
    if plan.way == "zipkin":
        asyncio.run(replay_with_zipkin(plan))
    else:
        replay_with_sdk(plan)


if __name__ == "__main__":
    main()
