"""What a simulation yields: spans and traces as plain data, before any encoding."""

from dataclasses import dataclass, field

from otel_tracead.generator.semantics import Kind
from otel_tracead.generator.topology import Attribute, Service


@dataclass(frozen=True, slots=True, eq=False)
class Host:
    """A machine; its clock is wrong by `skew_ns` nanoseconds."""

    name: str
    skew_ns: int


@dataclass(frozen=True, slots=True, eq=False)
class Origin:
    """The resource and instrumentation scope of a span: one running instance of a service."""

    service: Service
    index: int
    host: Host

    @property
    def pod(self) -> str:
        """The pod's name; it depends on nothing but service and index, so that two runs speak of the same pods."""
        return f"{self.service.name}-{self.index}"

    def resource(self) -> tuple[Attribute, ...]:
        """Return the resource attributes."""
        return (
            ("service.name", self.service.name),
            ("service.namespace", "shop"),
            ("service.version", "2.1.3"),
            ("service.instance.id", f"{self.pod}.shop"),
            ("k8s.pod.name", self.pod),
            ("k8s.namespace.name", "shop"),
            ("host.name", self.host.name),
            ("telemetry.sdk.name", "opentelemetry"),
            ("telemetry.sdk.language", self.service.language),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Event:
    """A span event; time in nanoseconds since the Unix epoch."""

    name: str
    time_unix_nano: int
    attributes: tuple[Attribute, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Link:
    """A span link."""

    trace_id: bytes
    span_id: bytes
    attributes: tuple[Attribute, ...] = ()


@dataclass(slots=True, eq=False)
class SimulatedSpan:
    """One span. Times are nanoseconds since the Unix epoch by its host's clock; `ended_s` is the true time of its end.

    `ended_s` counts in seconds from the scenario's start. A root has an empty `parent_span_id`.
    """

    trace_id: bytes
    span_id: bytes
    parent_span_id: bytes
    origin: Origin
    name: str
    kind: Kind
    start_unix_nano: int
    end_unix_nano: int
    ended_s: float
    attributes: tuple[Attribute, ...]
    error: bool = False
    message: str = ""
    events: tuple[Event, ...] = ()
    links: tuple[Link, ...] = ()
    trace_state: str = ""
    flags: int = 0


@dataclass(slots=True, eq=False)
class SimulatedTrace:
    """A finished trace: its spans in the order of their ends, and the operation that it began with."""

    trace_id: bytes
    root: str
    start_unix_nano: int
    spans: list[SimulatedSpan] = field(default_factory=list)
