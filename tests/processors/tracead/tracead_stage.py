"""A detector and a next consumer that do as they are told, and a processor between them."""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Self

import structlog
from span_builders import batch

from otel_tracead.component import Kind, Settings
from otel_tracead.delivery import Consignment, Delivery
from otel_tracead.detection.verdicts import AnomalyType, Level, ModelInfo, SpanVerdict, TraceVerdict
from otel_tracead.errors import Backpressure
from otel_tracead.processors.tracead.bounds import Bounds
from otel_tracead.processors.tracead.config import TraceadConfig
from otel_tracead.processors.tracead.processor import TraceadProcessor
from otel_tracead.testing import MemoryStorage
from otel_tracead.traces.trace import Trace
from otel_tracead.wire.batch import Envelope

NORMAL = TraceVerdict(verdict_span=0, complete=True)
ANOMALOUS = TraceVerdict(
    verdict_span=0,
    complete=True,
    anomalous=True,
    score=3.0,
    level=Level.HIGH,
    spans={0: SpanVerdict(anomalous=True, score=3.0, type=AnomalyType.RESPONSE_TIME, level=Level.HIGH)},
)


class FakeDetector:
    """Gives the verdict that `verdicts` has for a trace, else NORMAL.

    Attributes:
        poison: trace ids that no batch with them can be judged for.
        gate: judging waits until it is set.
    """

    def __init__(self) -> None:
        self.model = ModelInfo("fake", "1")
        self.verdicts: dict[bytes, TraceVerdict] = {}
        self.poison: set[bytes] = set()
        self.gate = threading.Event()
        self.gate.set()
        self.batches: list[int] = []
        self.threads: set[str] = set()

    def judge(self, traces: Sequence[Trace], *, every_span: bool = False) -> list[TraceVerdict]:
        self.batches.append(len(traces))
        self.threads.add(threading.current_thread().name)
        assert self.gate.wait(20)
        if any(trace.trace_id in self.poison for trace in traces):
            raise RuntimeError("poison")
        return [self.verdicts.get(trace.trace_id, NORMAL) for trace in traces]


class FakeModels:
    """A model folder that a test fills.

    Attributes:
        detector: what is loaded.
        error: raised instead.
        state: the folder's stamp; set it when something is put there.
        loads: how often something was loaded.
    """

    def __init__(self, detector: FakeDetector) -> None:
        self.detector = detector
        self.error: Exception | None = None
        self.state: tuple[object, ...] = ("first",)
        self.loads = 0

    def stamp(self, _config: TraceadConfig) -> tuple[object, ...]:
        return self.state

    def digest(self, _config: TraceadConfig) -> str:
        return self.detector.model.digest

    def load(self, _config: TraceadConfig, _current: object = None) -> FakeDetector:
        self.loads += 1
        if self.error is not None:
            raise self.error
        return self.detector


class Backend:
    """Takes what it is given and settles it; or does not.

    Attributes:
        full: refuses with back-pressure, at `admit` or (if not True) at `consume`.
        error: raised by `consume` instead.
        on_sent: called with what was taken; settles it.
    """

    def __init__(self) -> None:
        self.got: list[tuple[Envelope, bytes]] = []
        self.batches: list[int] = []
        self.full: bool | str = False
        self.error: Exception | None = None
        self.on_consume: Callable[[], None] = lambda: None
        self.on_sent: Callable[[Consignment], None] = Consignment.settle

    def admit(self, spans: int) -> None:
        if self.full is True:
            raise Backpressure("sending queue is full", retry_after=0.01)

    async def consume(self, consignment: Consignment) -> None:
        if self.full:
            raise Backpressure("sending queue is full", retry_after=0.01)
        if self.error is not None:
            raise self.error
        self.on_consume()
        self.got += consignment.batch
        self.batches.append(len(consignment.batch))
        self.on_sent(consignment)

    @property
    def spans(self) -> Counter[bytes]:
        return Counter(span for _, span in self.got)


class Stage:
    """A running processor with its neighbours; as a context manager it is started and shut down."""

    def __init__(self, bounds: Bounds | None = None, storage: MemoryStorage | None = None, **config: object) -> None:
        self.detector = FakeDetector()
        self.models = FakeModels(self.detector)
        self.backend = Backend()
        self.failed: list[BaseException] = []
        extensions = {} if storage is None else {"file_storage": storage}
        self.settings = Settings(
            id="tracead",
            kind=Kind.PROCESSOR,
            logger=structlog.get_logger(),
            fail=self.failed.append,
            extensions=extensions,
        )
        config |= {"storage": "file_storage"} if extensions else {}
        self.config = TraceadConfig.model_validate({"wait_duration": "10ms", "shutdown_timeout": "5s"} | config)
        self.processor = TraceadProcessor(self.config, self.settings, self.backend, self.models, bounds)
        self.deliveries: list[Delivery] = []

    async def __aenter__(self) -> Self:
        await self.processor.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.detector.gate.set()
        await self.processor.shutdown()
        assert self.failed == []

    async def send(self, *spans: bytes) -> Delivery:
        """Play a receiver that takes a request."""
        delivery = Delivery()
        self.processor.admit(len(spans))
        await self.processor.consume(Consignment(batch(*spans), [(delivery, 1)]))
        self.deliveries.append(delivery)
        return delivery

    def value(self, metric, *labels: str) -> float:
        return self.settings.telemetry.value(metric, "tracead", *labels)


async def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait for *condition*."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        await asyncio.sleep(0.005)
