"""What every network exporter does, whatever it speaks; a test class inherits this and brings a backend."""

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from otel_tracead.component import Component, Factory, Kind, Settings
from otel_tracead.delivery import Consignment, Delivery
from otel_tracead.errors import Backpressure
from otel_tracead.metrics import EXPORTER_FAILED, EXPORTER_RETRIES, EXPORTER_SENT
from otel_tracead.telemetry import Telemetry
from otel_tracead.wire.batch import Envelope, SpanBatch
from tests.contract.receiver_contract import until

ENVELOPE = Envelope(b"", b"", {"service.name": "shop"})
FAST = {"initial_interval": "20ms", "max_interval": "50ms"}


@dataclass(frozen=True)
class Refusal:
    """What a backend says instead of yes; `retry_after` in seconds."""

    kind: Literal["transient", "permanent", "data"]
    retry_after: float | None = None


class Backend(Protocol):
    """A backend in this process.

    Attributes:
        received: the names of the spans of each request that was taken.
        times: when each request came.
        refusals: answers to the next requests; None takes one.
        poison: a request with a span of this name gets a `data` refusal.
        gate: clear it to leave requests unanswered.
    """

    received: list[list[str]]
    times: list[float]
    refusals: deque[Refusal | None]
    poison: str | None
    gate: asyncio.Event
    endpoint: str

    async def start(self) -> None: ...
    async def stop(self) -> None: ...


class BackendState:
    """What all backends keep."""

    def __init__(self) -> None:
        self.received: list[list[str]] = []
        self.times: list[float] = []
        self.refusals: deque[Refusal | None] = deque()
        self.poison: str | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.endpoint = ""

    async def take(self, names: list[str]) -> Refusal | None:
        self.times.append(asyncio.get_running_loop().time())
        await self.gate.wait()
        refusal = self.refusals.popleft() if self.refusals else None
        if refusal is None and self.poison in names:
            refusal = Refusal("data")
        if refusal is None:
            self.received.append(names)
        return refusal


@dataclass
class Running:
    exporter: Any
    backend: Any
    telemetry: Telemetry
    settled: list[int]

    async def put(self, *names: str) -> None:
        number = len(names)
        delivery = Delivery(lambda: self.settled.append(number))
        self.exporter.admit(number)
        await self.exporter.consume(Consignment(batch(*names), ((delivery, 1),)))

    async def until_settled(self, count: int) -> None:
        await until(lambda: len(self.settled) >= count)

    @property
    def names(self) -> list[str]:
        return sorted(name for request in self.backend.received for name in request)

    def value(self, metric: Any) -> float:
        return self.telemetry.value(metric, "out/1")


def batch(*names: str) -> SpanBatch:
    spans = [
        Span(
            trace_id=bytes(15) + b"\x01",
            span_id=(number + 1).to_bytes(8, "big"),
            name=name,
            start_time_unix_nano=10**18,
            end_time_unix_nano=10**18 + 10**6,
        ).SerializeToString()
        for number, name in enumerate(names)
    ]
    return SpanBatch([(ENVELOPE, spans)])


class ExporterContract:
    factory: ClassVar[Factory[Any]]
    hint = 0.3  # seconds; HTTP knows whole ones only

    def make_backend(self) -> Backend:
        raise NotImplementedError

    def config(self, endpoint: str) -> dict[str, Any]:
        raise NotImplementedError

    async def run(self, backend: Any, **changes: Any) -> Running:
        settings = Settings(id="out/1", kind=Kind.EXPORTER)
        written = {**self.config(backend.endpoint), "retry_on_failure": FAST, **changes}
        exporter = self.factory.build(self.factory.config.model_validate(written), settings, None)
        await exporter.start()
        return Running(exporter, backend, settings.telemetry, [])

    @pytest.fixture
    async def backend(self):
        backend = self.make_backend()
        await backend.start()
        yield backend
        await backend.stop()

    @pytest.fixture
    async def running(self, backend):
        running = await self.run(backend)
        yield running
        await running.exporter.shutdown()

    async def test_delivers_exactly_once(self, running: Running) -> None:
        assert isinstance(running.exporter, Component)
        for number in range(20):
            await running.put(f"a{number:02}", f"b{number:02}")
        await running.until_settled(20)
        assert running.names == sorted(f"{letter}{number:02}" for letter in "ab" for number in range(20))
        assert running.settled == [2] * 20
        assert running.value(EXPORTER_SENT) == 40

    async def test_transient_errors_are_tried_again_with_back_off(self, running: Running) -> None:
        running.backend.refusals += [Refusal("transient")] * 3
        await running.put("a")
        await running.until_settled(1)
        assert running.names == ["a"]
        assert running.value(EXPORTER_RETRIES) == 3
        gaps = [
            later - earlier for earlier, later in zip(running.backend.times, running.backend.times[1:], strict=False)
        ]
        assert min(gaps) >= 0.009

    async def test_waits_as_long_as_the_backend_asks(self, running: Running) -> None:
        running.backend.refusals.append(Refusal("transient", retry_after=self.hint))
        await running.put("a")
        await running.until_settled(1)
        first, second = running.backend.times
        assert second - first >= self.hint - 0.01

    async def test_a_permanent_error_drops_and_counts(self, running: Running) -> None:
        running.backend.refusals.append(Refusal("permanent"))
        await running.put("a", "b")
        await running.until_settled(1)
        await running.put("c")
        await running.until_settled(2)
        assert running.names == ["c"]
        assert running.value(EXPORTER_FAILED) == 2
        assert len(running.backend.times) == 2

    async def test_one_poisonous_span_does_not_take_the_others_with_it(self, running: Running) -> None:
        running.backend.poison = "bad"
        names = [f"good{number}" for number in range(20)]
        await running.put(*names[:13], "bad", *names[13:])
        await running.until_settled(1)
        assert running.names == sorted(names)
        assert running.value(EXPORTER_FAILED) == 1
        assert running.settled == [21]

    async def test_a_backend_that_is_away_is_waited_for(self, running: Running) -> None:
        await running.backend.stop()
        await running.put("a")
        await until(lambda: running.value(EXPORTER_RETRIES) >= 2)
        assert running.settled == []
        await running.backend.start()
        await running.until_settled(1)
        assert running.names == ["a"]

    async def test_a_full_queue_is_backpressure(self, backend: Any) -> None:
        running = await self.run(backend, sending_queue={"queue_size": 2, "num_consumers": 1})
        backend.gate.clear()
        await running.put("a")
        await running.put("b")
        with pytest.raises(Backpressure):
            running.exporter.admit(1)
        backend.gate.set()
        await running.exporter.shutdown()
        assert running.names == ["a", "b"]

    async def test_shutdown_drains(self, backend: Any) -> None:
        running = await self.run(backend, sending_queue={"num_consumers": 2})
        backend.refusals += [Refusal("transient")] * 4
        for number in range(10):
            await running.put(f"a{number}")
        await running.exporter.shutdown()
        assert running.names == [f"a{number}" for number in range(10)]
        assert running.settled == [1] * 10
        assert running.exporter.undelivered == 0
        await running.exporter.shutdown()

    async def test_what_never_got_away_is_counted(self, backend: Any) -> None:
        running = await self.run(backend)
        running.exporter.drain_timeout = 0.1
        backend.gate.clear()
        await running.put("a", "b")
        await running.exporter.shutdown()
        assert running.exporter.undelivered == 2
        assert running.settled == []
        backend.gate.set()

    async def test_shutdown_without_start(self, backend: Any) -> None:
        config = self.factory.config.model_validate(self.config(backend.endpoint))
        await self.factory.build(config, Settings(id="out/1", kind=Kind.EXPORTER), None).shutdown()
