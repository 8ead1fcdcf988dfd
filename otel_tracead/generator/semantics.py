"""How a call and its outcome look as a span, by OpenTelemetry's semantic conventions (v1.37)."""

import enum
from dataclasses import dataclass
from functools import cache

from otel_tracead.generator.topology import Attribute, Operation, Protocol

_GRPC_OK = 0
_GRPC_SERVER_ERRORS = frozenset({2, 4, 12, 13, 14, 15})  # semantic-conventions, rpc/grpc: the others are the caller's
_FIRST_CLIENT_ERROR = 400
_FIRST_SERVER_ERROR = 500


class Kind(enum.IntEnum):
    """Span kinds with their OTLP numbers."""

    INTERNAL = 1
    SERVER = 2
    CLIENT = 3
    PRODUCER = 4
    CONSUMER = 5


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a request ended: gRPC and HTTP codes, and for failures a message and an exception type."""

    grpc: int = _GRPC_OK
    http: int = 200
    message: str = ""
    exception: str = ""

    @property
    def failed(self) -> bool:
        """Whether the caller got no answer that it can use."""
        return self.grpc != _GRPC_OK


OK = Outcome()
INTERNAL = Outcome(13, 500, "internal error: connection pool is closed", "IllegalStateException")
UPSTREAM = Outcome(13, 500, "a call that this request needs has failed", "UpstreamError")
UNAVAILABLE = Outcome(14, 503, "connection reset by peer", "ConnectionError")
EXHAUSTED = Outcome(8, 503, "too many requests are waiting", "OverloadError")
CANCELLED = Outcome(1, 499, "context canceled", "CancelledError")
REFUSED = Outcome(3, 422, "card was declined", "InvalidCardError")

_UPWARDS = {UNAVAILABLE: UPSTREAM, INTERNAL: UPSTREAM, EXHAUSTED: UNAVAILABLE}


def upwards(outcome: Outcome) -> Outcome:
    """Return the outcome of a request of which a needed call had the given outcome."""
    return _UPWARDS.get(outcome, outcome)


def is_error(protocol: Protocol, kind: Kind, outcome: Outcome) -> bool:
    """Return whether the span's status is ERROR; a server does not call the caller's mistakes its own errors."""
    if kind is not Kind.SERVER:
        return outcome.failed
    if protocol is Protocol.HTTP:
        return outcome.http >= _FIRST_SERVER_ERROR
    return outcome.grpc in _GRPC_SERVER_ERRORS


def _http(operation: Operation, kind: Kind, outcome: Outcome) -> tuple[Attribute, ...]:
    method, _, route = operation.name.partition(" ")
    service = operation.service
    attributes: list[Attribute] = [
        ("http.request.method", method),
        ("http.response.status_code", outcome.http),
        ("server.address", service.name),
        ("server.port", service.port),
        ("network.protocol.version", "1.1"),
    ]
    if kind is Kind.SERVER:
        attributes += [("http.route", route), ("url.scheme", "http")]
    else:
        attributes.append(("url.full", f"http://{service.name}:{service.port}{route}"))
    limit = _FIRST_SERVER_ERROR if kind is Kind.SERVER else _FIRST_CLIENT_ERROR
    if outcome.http >= limit:
        attributes.append(("error.type", str(outcome.http)))
    return tuple(attributes)


def _grpc(operation: Operation, kind: Kind, outcome: Outcome) -> tuple[Attribute, ...]:
    service, _, method = operation.name.rpartition("/")
    attributes: tuple[Attribute, ...] = (
        ("rpc.system", "grpc"),
        ("rpc.service", service),
        ("rpc.method", method),
        ("rpc.grpc.status_code", outcome.grpc),
        ("server.address", operation.service.name),
        ("server.port", operation.service.port),
    )
    if is_error(operation.protocol, kind, outcome):
        attributes += (("error.type", outcome.exception),)
    return attributes


def _database(operation: Operation, _kind: Kind, outcome: Outcome) -> tuple[Attribute, ...]:
    attributes: tuple[Attribute, ...] = (
        ("server.address", operation.service.name),
        ("server.port", operation.service.port),
    )
    if outcome.failed:
        attributes += (("error.type", outcome.exception),)
    return attributes


def _messaging(operation: Operation, kind: Kind, outcome: Outcome) -> tuple[Attribute, ...]:
    what = "process" if kind is Kind.CONSUMER else "send"
    attributes: tuple[Attribute, ...] = (
        ("messaging.system", "kafka"),
        ("messaging.operation.type", what),
        ("messaging.operation.name", what),
    )
    if kind is Kind.CONSUMER:
        attributes += (("messaging.consumer.group.name", operation.service.name),)
    else:
        attributes += (("server.address", operation.service.name), ("server.port", operation.service.port))
    if outcome.failed:
        attributes += (("error.type", outcome.exception),)
    return attributes


_BY_PROTOCOL = {
    Protocol.HTTP: _http,
    Protocol.GRPC: _grpc,
    Protocol.DATABASE: _database,
    Protocol.MESSAGING: _messaging,
}


def server_kind(operation: Operation) -> Kind:
    """Return the kind of the span of the service that does the operation."""
    return Kind.CONSUMER if operation.protocol is Protocol.MESSAGING else Kind.SERVER


def client_kind(operation: Operation) -> Kind:
    """Return the kind of the span of the service that asks for the operation."""
    return Kind.PRODUCER if operation.protocol is Protocol.MESSAGING else Kind.CLIENT


@cache
def attributes_of(operation: Operation, kind: Kind, outcome: Outcome) -> tuple[Attribute, ...]:
    """Return the attributes that depend only on operation, side and outcome; one tuple for equal arguments."""
    return _BY_PROTOCOL[operation.protocol](operation, kind, outcome) + operation.attributes
