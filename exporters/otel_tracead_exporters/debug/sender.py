"""Says what goes by, within the sampling limits, and sums it up at the end."""

import asyncio
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from otel_tracead import line_writer
from otel_tracead.component import Settings
from otel_tracead.line_writer import to_stream
from otel_tracead.wire.batch import SpanBatch
from otel_tracead_exporters.debug.config import DebugConfig
from otel_tracead_exporters.debug.describe import Counts, blocks, count, lines, traces

_SECONDS: Final = 1.0


class Sampling:
    """Lets the first batches of each second through, and of the others each so manieth."""

    def __init__(self, initial: int, thereafter: int) -> None:
        self._initial = initial
        self._thereafter = thereafter
        self._second = 0
        self._seen = 0

    def passes(self, now: float) -> bool:
        """Say whether the batch of the moment *now* (seconds) is let through."""
        if int(now) != self._second:
            self._second, self._seen = int(now), 0
        self._seen += 1
        beyond = self._seen - self._initial
        return beyond <= 0 or beyond % self._thereafter == 0


class DebugSender:
    """A `Sender` whose backend is the reader of the log."""

    def __init__(self, config: DebugConfig, settings: Settings, now: Callable[[], float] = time.monotonic) -> None:
        self._sampling = Sampling(config.sampling_initial, config.sampling_thereafter)
        self._verbosity = config.verbosity
        self._say = self._log(settings.logger) if config.use_internal_logger else self._print(config.output_paths)
        self._now = now
        self._total = Counts(0, 0, 0)

    async def start(self) -> None:
        """Nothing to open."""

    async def send(self, batch: SpanBatch) -> None:
        """Say what is in *batch*."""
        counts = count(batch)
        self._total += counts
        if not self._sampling.passes(self._now()):
            return
        self._say("traces", {"traces": traces(batch)} | _fields(counts))
        if self._verbosity == "normal":
            self._say("\n".join(lines(batch)), {})
        elif self._verbosity == "detailed":
            self._say("\n".join(blocks(batch)), {})

    async def shutdown(self) -> None:
        """Sum up; once."""
        total, self._total = self._total, Counts(0, 0, 0)
        if total.spans:
            self._say("traces in all", _fields(total))
        await asyncio.to_thread(line_writer.flush, _SECONDS)

    @staticmethod
    def _log(logger: Any) -> Callable[[str, Mapping[str, int]], None]:
        return lambda event, fields: logger.info(event, **fields)

    @staticmethod
    def _print(paths: tuple[str, ...]) -> Callable[[str, Mapping[str, int]], None]:
        outputs = [to_stream(sys.stdout if path == "stdout" else sys.stderr) for path in paths]

        def say(event: str, fields: Mapping[str, int]) -> None:
            line = " ".join((event, *(f"{key}={value}" for key, value in fields.items())))
            for output in outputs:
                output.put(line, "left out here, since it was not read as fast as it came: {}".format)

        return say


def _fields(counts: Counts) -> dict[str, int]:
    return {
        "spans": counts.spans,
        "anomalous_spans": counts.anomalous_spans,
        "anomalous_traces": counts.anomalous_traces,
    }
