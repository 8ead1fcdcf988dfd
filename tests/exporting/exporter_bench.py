"""An exporter on a bench, with a clock of its own: who tests it waits for nothing."""

import asyncio
from collections.abc import Callable

from otel_tracead.component import Kind, Settings
from otel_tracead.delivery import Consignment, Delivery
from otel_tracead.exporting import ExporterConfig, QueuedExporter
from otel_tracead.telemetry import Telemetry
from otel_tracead.testing import RecordingSender
from otel_tracead.wire.batch import Envelope, SpanBatch

ENVELOPE = Envelope(b"", b"", {})


def spans(*names: str) -> SpanBatch:
    return SpanBatch([(ENVELOPE, [name.encode() for name in names])])


class Bench:
    """An exporter on a bench: its sender, its clock, its receipts."""

    def __init__(self, written: dict | None = None, random: float = 0.5, sender: RecordingSender | None = None) -> None:
        self.telemetry = Telemetry()
        self.sender = sender or RecordingSender()
        self.while_waiting: Callable[[], None] = lambda: None
        self.time = 0.0
        self.waits: list[float] = []
        self.settled: list[str] = []
        self.exporter = QueuedExporter(
            Settings(id="out", kind=Kind.EXPORTER, telemetry=self.telemetry),
            ExporterConfig.model_validate(written or {}),
            self.sender,
            sleep=self.sleep,
            now=lambda: self.time,
            random=lambda: random,
        )

    async def sleep(self, seconds: float) -> None:
        self.while_waiting()
        self.waits.append(round(seconds, 6))
        self.time += seconds
        await asyncio.sleep(0)

    def consignment(self, *names: str) -> Consignment:
        delivery = Delivery(lambda: self.settled.append("+".join(names)))
        return Consignment(spans(*names), ((delivery, 1),))

    async def put(self, *names: str) -> None:
        self.exporter.admit(len(names))
        await self.exporter.consume(self.consignment(*names))

    def value(self, metric, *labels: str) -> float:
        return self.telemetry.value(metric, "out", *labels)

    @property
    def delivered(self) -> list[str]:
        return [span.decode() for span in self.sender.spans]


async def bench(written: dict | None = None, random: float = 0.5, sender: RecordingSender | None = None) -> Bench:
    """Make a bench, and start its exporter."""
    made = Bench(written, random, sender)
    await made.exporter.start()
    return made


async def until(condition: Callable[[], object]) -> None:
    for _ in range(5000):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("that never happened")
