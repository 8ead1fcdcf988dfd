"""The words in which a shop is described: services, operations and the calls that an operation makes."""

import enum
from collections.abc import Iterator
from dataclasses import dataclass

AttributeValue = str | bool | int | float | tuple[str, ...]
Attribute = tuple[str, AttributeValue]


class Protocol(enum.Enum):
    """How an operation is reached; it decides kind, name and attributes of the spans."""

    HTTP = "http"
    GRPC = "grpc"
    DATABASE = "database"
    MESSAGING = "messaging"


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One service of the shop.

    `workers` requests are worked on at a time in each instance; the others wait in line, which is how load makes
    latency. A service that is not `traced` (a database, a broker) has workers too, but only its callers have spans.
    """

    name: str
    language: str = "go"
    scope: str = "otelgrpc"
    scope_version: str = "0.63.0"
    instances: int = 1
    workers: int = 4
    port: int = 8080
    traced: bool = True


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Operation:
    """What a service does for a request: `median_ms` of own work, shared out before, between and after `steps`.

    The work is log-normal with `sigma`, and rarely much longer. `failure_rate` is the share of requests that fail in
    ordinary operation: `transient` failures are `UNAVAILABLE` and retried, the others are the caller's fault.
    `attributes` stand on the span of the server and on that of its caller.
    """

    service: Service
    name: str
    protocol: Protocol
    median_ms: float
    sigma: float = 0.3
    steps: tuple["Step", ...] = ()
    failure_rate: float = 0.0
    transient: bool = True
    attributes: tuple[Attribute, ...] = ()
    carries: tuple[str, ...] = ()

    @property
    def client_name(self) -> str:
        """The name of the caller's span; an HTTP client knows no route, so there it is the method alone."""
        return self.name.partition(" ")[0] if self.protocol is Protocol.HTTP else self.name


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """One remote call; the caller waits for it. If it fails, the caller fails too unless it is not `critical`."""

    operation: Operation
    probability: float = 1.0
    critical: bool = True
    retries: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Repeat:
    """Steps that are done `low` to `high` times (both included, uniform), one after the other, or inside a `Parallel`."""

    steps: tuple["Step", ...]
    low: int
    high: int


@dataclass(frozen=True, slots=True, eq=False)
class Cached:
    """A lookup in a cache, and the steps that are needed only when it misses."""

    lookup: Call
    miss: tuple["Step", ...]
    hit_rate: float


@dataclass(frozen=True, slots=True, eq=False)
class Parallel:
    """Calls that are made at the same time; the caller goes on when all are answered."""

    calls: tuple[Call | Repeat, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Internal:
    """A span of kind INTERNAL around own work of `median_ms` and steps of the same service."""

    name: str
    median_ms: float
    steps: tuple["Step", ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Publish:
    """A message that is sent to a broker by a call; each consumer takes it later, and nobody waits for that."""

    send: Call
    consumers: tuple[Operation, ...]


Step = Call | Repeat | Cached | Parallel | Internal | Publish
ConcreteStep = Call | Parallel | Internal | Publish


@dataclass(frozen=True, slots=True, eq=False)
class Topology:
    """A shop: what arrives from outside, and how often (weights relative to each other)."""

    roots: tuple[tuple[Operation, float], ...]

    def services(self) -> tuple[Service, ...]:
        """Return every service that any root operation can reach, each once, in order of first mention."""
        found: dict[str, Service] = {}
        for root, _ in self.roots:
            for reached in operations(root):
                found.setdefault(reached.service.name, reached.service)
        return tuple(found.values())


def operations(root: Operation) -> Iterator[Operation]:
    """Yield the operations that a root operation can reach, itself first; the same one may come more than once."""
    yield root
    for step in root.steps:
        yield from _reached(step)


def _reached(step: Step) -> Iterator[Operation]:
    match step:
        case Call():
            yield from operations(step.operation)
        case Publish():
            for operation in (step.send.operation, *step.consumers):
                yield from operations(operation)
        case Cached():
            inner = (step.lookup, *step.miss)
        case Parallel():
            inner = step.calls
        case Repeat() | Internal():
            inner = step.steps
    if not isinstance(step, Call | Publish):
        for below in inner:
            yield from _reached(below)
