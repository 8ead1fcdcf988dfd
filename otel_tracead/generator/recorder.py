"""Writes down what happens in a trace: its spans with their attributes, and the faults that it met."""

from collections.abc import Callable
from functools import cache, partial
from typing import Final

from otel_tracead.generator.chance import Draws
from otel_tracead.generator.faults import Fault
from otel_tracead.generator.semantics import OK, Kind, Outcome, attributes_of, client_kind, is_error, server_kind
from otel_tracead.generator.spans import Event, Link, Origin, SimulatedSpan, SimulatedTrace
from otel_tracead.generator.topology import Attribute, AttributeValue, Operation
from otel_tracead.generator.truth import AffectedTrace

_SAMPLED: Final = 0x101  # the W3C flag "sampled", and OTLP's "it is known whether the parent is remote"
_REMOTE: Final = 0x200
_TRACE_STATE_SHARE: Final = 0.05
_REMOTE_KINDS: Final = frozenset({Kind.SERVER, Kind.CONSUMER})

_PRODUCTS: Final = tuple(
    f"{number:010X}" for number in (0x0FF2A, 0x1E240, 0x2C11D, 0x3BEEF, 0x4D00D, 0x5CAFE, 0x6F00D, 0x7ACE5)
)
_AGENTS: Final = (
    "Mozilla/5.0 (X11; Linux x86_64; rv:142.0) Gecko/20100101 Firefox/142.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15",
    "python-requests/2.32.4",
)
_CATEGORIES: Final = (("telescopes",), ("binoculars",), ("books", "travel"), ("accessories", "flashlights", "assembly"))
_LEVELS: Final = ("platinum", "gold", "silver", "bronze")


def _one_of(values: tuple[AttributeValue, ...], draws: Draws) -> AttributeValue:
    return values[int(draws.uniform() * len(values))]


def _number(low: int, high: int, draws: Draws) -> int:
    return low + int(draws.uniform() * (high - low + 1))


def _money(draws: Draws) -> float:
    return round(10 + 490 * draws.uniform(), 2)


# Attributes that differ from trace to trace; within a trace they stay the same.
_VARIABLES: Final[dict[str, Callable[[Draws], AttributeValue]]] = {
    "app.user.id": lambda draws: f"user-{_number(1, 400, draws)}",
    "app.user.guest": partial(_one_of, (True, False)),
    "session.id": lambda draws: draws.trace_id().hex(),
    "app.product.id": partial(_one_of, _PRODUCTS),
    "app.ads.contextKeys": partial(_one_of, _CATEGORIES),
    "app.products_recommended.count": partial(_number, 3, 5),
    "app.filtered_products.list": lambda draws: _PRODUCTS[: _number(1, 4, draws)],
    "app.shipping.tracking.id": lambda draws: draws.trace_id().hex(),
    "app.payment.amount": _money,
    "app.order.amount": _money,
    "app.order.items.count": partial(_number, 1, 9),
    "app.loyalty.level": partial(_one_of, _LEVELS),
    "client.address": lambda draws: f"203.0.113.{_number(1, 254, draws)}",
    "user_agent.original": partial(_one_of, _AGENTS),
    "messaging.kafka.offset": partial(_number, 0, 10**12),
}


class OpenTrace:
    """A trace that is still going on; `running` counts the request and the consumers of its messages."""

    __slots__ = ("affected", "running", "trace", "trace_state", "values")

    def __init__(self, trace: SimulatedTrace, trace_state: str) -> None:
        self.trace = trace
        self.trace_state = trace_state
        self.running = 1
        self.values: dict[str, AttributeValue] = {}
        self.affected: dict[int, AffectedTrace] = {}


class Recorder:
    """Makes spans out of simulated seconds, and keeps those that ended until somebody takes them."""

    def __init__(
        self, start_unix_nano: int, faults: tuple[Fault, ...], draws: Draws, affected: list[AffectedTrace]
    ) -> None:
        self._start_unix_nano = start_unix_nano
        self._numbers = {fault: number for number, fault in enumerate(faults)}
        self._draws = draws
        self._affected = affected
        self.ended: list[SimulatedSpan] = []

    def begin(self, root: Operation, now_s: float) -> OpenTrace:
        """Open a trace."""
        draws = self._draws
        state = "ot=th:0,shop=canary" if draws.uniform() < _TRACE_STATE_SHARE else ""
        return OpenTrace(SimulatedTrace(draws.trace_id(), root.name, self._nanoseconds(now_s)), state)

    def mark(self, opened: OpenTrace, fault: Fault, span_id: bytes, extra_s: float = 0.0) -> AffectedTrace:
        """Note that a fault hit this trace at a span, and what time it added."""
        number = self._numbers[fault]
        affected = opened.affected.get(number)
        if affected is None:
            trace = opened.trace
            affected = AffectedTrace(trace.trace_id, number, fault.kind, fault.service, trace.start_unix_nano)
            opened.affected[number] = affected
            self._affected.append(affected)
        if span_id not in affected.span_ids:
            affected.span_ids.append(span_id)
        affected.extra_ms += extra_s * 1000
        return affected

    def served(
        self,
        opened: OpenTrace,
        operation: Operation,
        origin: Origin,
        *,
        ids: tuple[bytes, bytes],
        times_s: tuple[float, float],
        outcome: Outcome,
    ) -> None:
        """Record the span of the service that was called; arguments as for `end`."""
        kind = server_kind(operation)
        attributes = attributes_of(operation, kind, outcome)
        if operation.carries:
            attributes += tuple((key, self._value(opened, key)) for key in operation.carries)
        self.end(
            opened,
            origin,
            name=operation.name,
            kind=kind,
            ids=ids,
            times_s=times_s,
            attributes=attributes,
            error=outcome if outcome is not OK and is_error(operation.protocol, kind, outcome) else OK,
            linked=ids[1] if kind is Kind.CONSUMER else b"",
        )

    def called(
        self,
        opened: OpenTrace,
        operation: Operation,
        origin: Origin,
        *,
        ids: tuple[bytes, bytes],
        times_s: tuple[float, float],
        outcome: Outcome,
    ) -> None:
        """Record the span of the service that called; arguments as for `end`."""
        kind = client_kind(operation)
        self.end(
            opened,
            origin,
            name=operation.client_name,
            kind=kind,
            ids=ids,
            times_s=times_s,
            attributes=attributes_of(operation, kind, outcome),
            error=outcome,
        )

    def _value(self, opened: OpenTrace, key: str) -> AttributeValue:
        value = opened.values.get(key)
        if value is None:
            if key == "url.path":
                path = opened.trace.root.partition(" ")[2]
                value = path.replace("{productId}", str(self._value(opened, "app.product.id"))) if "{" in path else path
                value = value.replace("{file}", "products/Banner.png")
            else:
                value = _VARIABLES[key](self._draws)
            opened.values[key] = value
        return value

    def end(
        self,
        opened: OpenTrace,
        origin: Origin,
        *,
        name: str,
        kind: Kind,
        ids: tuple[bytes, bytes],
        times_s: tuple[float, float],
        attributes: tuple[Attribute, ...],
        error: Outcome = OK,
        linked: bytes = b"",
    ) -> None:
        """Record a span that ends now.

        Args:
            opened: the trace.
            origin: the instance whose span it is.
            name: the span's name.
            kind: the span's kind.
            ids: span id and parent's span id.
            times_s: start and end in simulated seconds.
            attributes: all attributes.
            error: the outcome, if the span's status is ERROR.
            linked: the span id of a linked span of the same trace.
        """
        span_id, parent = ids
        skew_ns = origin.host.skew_ns
        end_ns = self._nanoseconds(times_s[1]) + skew_ns
        flags = _SAMPLED | _REMOTE if parent and kind in _REMOTE_KINDS else _SAMPLED
        span = SimulatedSpan(
            opened.trace.trace_id,
            span_id,
            parent,
            origin,
            name,
            kind,
            self._nanoseconds(times_s[0]) + skew_ns,
            end_ns,
            times_s[1],
            attributes,
            error is not OK,
            error.message,
            () if error is OK or kind is Kind.CLIENT else (Event("exception", end_ns, _exception(error)),),
            (Link(opened.trace.trace_id, linked),) if linked else (),
            opened.trace_state,
            flags,
        )
        opened.trace.spans.append(span)
        self.ended.append(span)

    def _nanoseconds(self, now_s: float) -> int:
        return self._start_unix_nano + int(now_s * 1e9)


@cache
def _exception(outcome: Outcome) -> tuple[Attribute, ...]:
    return (
        ("exception.type", outcome.exception),
        ("exception.message", outcome.message),
        ("exception.stacktrace", f"{outcome.exception}: {outcome.message}\n  at handle (service.js:117:9)"),
    )
