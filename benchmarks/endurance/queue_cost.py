"""What an exporter's queue costs by itself: CPU time a span in memory, on disk, and on disk with fsync; nothing is sent anywhere."""

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Final

import click
import structlog

from otel_tracead.component import Component, Kind, Settings
from otel_tracead.delivery import Consignment
from otel_tracead.exporting import ExporterConfig, QueuedExporter
from otel_tracead.extensions.file_storage import FileStorage, FileStorageConfig
from otel_tracead.wire.batch import Envelope, SpanBatch

WAYS: Final = ("memory", "disk", "disk, fsync")
_SPAN_BYTES: Final = 95  # as those of Online Boutique


@dataclass(frozen=True, slots=True)
class Cost:
    """One measurement.

    Attributes:
        cpu_us: µs of CPU time a span, of all threads.
        p50_ms: until the queue had a request, in ms.
        spans: taken a second.
    """

    cpu_us: float
    p50_ms: float
    spans: float


class _Backend:
    """Takes everything at once."""

    async def start(self) -> None:
        """Nothing to do."""

    async def send(self, _batch: SpanBatch) -> None:
        """Take it."""
        await asyncio.sleep(0)

    async def shutdown(self) -> None:
        """Nothing to do."""


async def measure(way: str, per_request: int, at_once: int, requests: int, folder: Path) -> Cost:
    """Put *requests* into a queue, *at_once* side by side, and have them sent.

    Args:
        way: one of `WAYS`.
        per_request: spans in each.
        at_once: senders, each of which waits until the queue has its request.
        requests: in all.
        folder: empty.
    """
    batch = SpanBatch(
        [(Envelope(b"r" * 120, b"s" * 20, {}), [bytes([i % 256]) * _SPAN_BYTES for i in range(per_request)])]
    )
    extensions: dict[str, Component] = {}
    if way != "memory":
        config = FileStorageConfig(directory=folder, fsync="fsync" in way)
        extensions["disk"] = FileStorage(config, Settings(id="disk", kind=Kind.EXTENSION))
    queue = {"queue_size": requests, **({"storage": "disk"} if extensions else {})}
    exporter = QueuedExporter(
        Settings(id="out", kind=Kind.EXPORTER, extensions=extensions),
        ExporterConfig.model_validate({"sending_queue": queue}),
        _Backend(),
    )
    for component in (*extensions.values(), exporter):
        await component.start()
    waits: list[float] = []

    async def send() -> None:
        for _ in range(requests // at_once):
            begun = time.perf_counter()
            await exporter.consume(Consignment(batch))
            waits.append(time.perf_counter() - begun)
            await asyncio.sleep(0)

    cpu, begun = time.process_time(), time.perf_counter()
    await asyncio.gather(*(send() for _ in range(at_once)))
    for component in (exporter, *extensions.values()):
        await component.shutdown()
    spans = len(waits) * per_request
    return Cost((time.process_time() - cpu) / spans * 1e6, median(waits) * 1e3, spans / (time.perf_counter() - begun))


@click.command(context_settings={"show_default": True})
@click.option("--per-request", "sizes", multiple=True, type=int, default=[50, 512], help="spans a request")
@click.option("--at-once", "senders", multiple=True, type=int, default=[1, 16], help="senders side by side")
@click.option("--spans", type=int, default=40_000, help="of each measurement")
@click.option("--repeats", type=int, default=3)
def main(sizes: tuple[int, ...], senders: tuple[int, ...], spans: int, repeats: int) -> None:
    """Measure, and print the lowest CPU time of each."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    for size in sizes:
        for at_once in senders:
            found: dict[str, list[Cost]] = {way: [] for way in WAYS}
            for _ in range(repeats):
                for way in WAYS:
                    with TemporaryDirectory(prefix="otel-tracead-bench-store-") as folder:
                        requests = max(at_once, spans // size)
                        found[way].append(asyncio.run(measure(way, size, at_once, requests, Path(folder))))
            for way, costs in found.items():
                best = min(costs, key=lambda cost: cost.cpu_us)
                click.echo(
                    f"{size:>4} a request  {at_once:>2} at once  {way:<12}{best.cpu_us:7.2f} µs/span  "
                    f"p50 {best.p50_ms:6.2f} ms  {best.spans:10,.0f} spans/s"
                )


if __name__ == "__main__":
    main()
