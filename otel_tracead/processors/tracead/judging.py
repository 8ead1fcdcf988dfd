"""Scoring off the event loop that always comes back: with verdicts, or with spans that go on without."""

import asyncio
import time
from collections.abc import Sequence
from typing import Final

from otel_tracead.component import Settings
from otel_tracead.detection.marking import ERROR, TIMEOUT
from otel_tracead.detection.verdicts import Detector
from otel_tracead.log_limit import LogLimiter
from otel_tracead.processors.tracead.scoring import Rules, Scored, pass_unscored, score
from otel_tracead.processors.tracead.thread import ScoringThread
from otel_tracead.telemetry import SCORING_DURATION, SCORING_FAILURES
from otel_tracead.traces.trace import Trace

PATIENCE: Final = 30.0
"""Seconds after which a batch goes on without a verdict."""


class Judging:
    """Has batches of traces judged in a thread of its own, one at a time.

    Args:
        detector: who judges.
        rules: what is done with verdicts.
        settings: id, telemetry, logger.
        patience: seconds that a batch may take. A thread that hangs longer cannot be stopped: until it comes back,
            traces go on unscored.

    Attributes:
        detector: may be replaced at any time; a batch is judged by one.
    """

    def __init__(self, detector: Detector, rules: Rules, settings: Settings, patience: float = PATIENCE) -> None:
        self.detector = detector
        self._rules = rules
        self._patience = patience
        self._watchdog: asyncio.Timeout | None = None
        self._thread: ScoringThread[tuple[Scored, float]] = ScoringThread(f"score {settings.id}")
        self._failures = settings.telemetry.counter(SCORING_FAILURES, settings.id)
        self._duration = settings.telemetry.histogram(SCORING_DURATION, settings.id)
        self._log = LogLimiter(settings.logger)

    async def judge(self, traces: Sequence[Trace]) -> Scored:
        """Judge, annotate and pack *traces*."""
        if self._thread.busy:
            return await self._without_verdict(traces, TIMEOUT, "scoring still hangs")
        detector, rules = self.detector, self._rules
        future = self._thread.submit(lambda: _timed(detector, traces, rules))
        self._watchdog = watchdog = asyncio.timeout(self._patience)
        try:
            async with watchdog:
                scored, seconds = await future
        except Exception as error:  # noqa: BLE001 (fail open: any)
            if watchdog.expired():
                return await self._without_verdict(traces, TIMEOUT, "scoring hangs")
            return await self._without_verdict(traces, ERROR, repr(error))
        finally:
            self._watchdog = None
        self._duration.observe(seconds)
        if scored.error is not None:
            self._note(repr(scored.error))
        return scored

    def hurry(self, seconds: float) -> None:
        """Have no more patience than *seconds*, with the batch that is being scored neither."""
        self._patience = min(self._patience, seconds)
        if self._watchdog is not None:
            latest = asyncio.get_running_loop().time() + seconds
            self._watchdog.reschedule(min(self._watchdog.when() or latest, latest))

    def close(self) -> None:
        """Let the thread end."""
        self._thread.close()

    async def _without_verdict(self, traces: Sequence[Trace], reason: str, error: str) -> Scored:
        self._note(error)
        return await asyncio.to_thread(pass_unscored, traces, reason, self._rules)

    def _note(self, error: str) -> None:
        self._failures.add()
        self._log.warning("traces could not be scored and go on unscored", error=error)


def _timed(detector: Detector, traces: Sequence[Trace], rules: Rules) -> tuple[Scored, float]:
    started = time.perf_counter()
    scored = score(detector, traces, rules)
    return scored, time.perf_counter() - started
