"""Scoring off the event loop that always comes back: with verdicts, or with spans that go on without."""

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from otel_tracead.component import Settings
from otel_tracead.detection.marking import ERROR, TIMEOUT
from otel_tracead.detection.verdicts import Detector
from otel_tracead.log_limit import LogLimiter
from otel_tracead.metrics import SCORING_DURATION, SCORING_FAILURES
from otel_tracead.processors.tracead.scoring import Rules, Scored, pass_unscored, score
from otel_tracead.processors.tracead.thread import ScoringThread
from otel_tracead.traces.trace import Trace

PATIENCE: Final = 30.0
"""Seconds after which a batch goes on without a verdict."""

HOPELESS: Final = 300.0
"""Seconds of hanging after which the health check calls it permanent."""


class Judging:
    """Has batches of traces judged in a thread of its own, one at a time.

    A detector that replaces another is on probation until it has judged a batch: the one before is kept, judges again what
    the new one cannot, and then takes its place again.

    Args:
        detector: who judges.
        rules: what is done with verdicts.
        settings: id, telemetry, logger.
        patience: seconds that a batch may take. A thread that hangs longer cannot be stopped: until it comes back,
            traces go on unscored.
        hopeless: seconds after which nobody expects it to come back.

    Attributes:
        detector: who judges the next batch; a batch is judged by one.
        rules: may be replaced at any time.
        reverted: called with the detector that judges again after another failed its probation, and the error.
        moved: called with the detector that judges elsewhere from now on: its GPU failed.
    """

    def __init__(
        self,
        detector: Detector,
        rules: Rules,
        settings: Settings,
        patience: float = PATIENCE,
        hopeless: float = HOPELESS,
    ) -> None:
        self.detector = detector
        self.rules = rules
        self.reverted: Callable[[Detector, str], None] = lambda _detector, _error: None
        self.moved: Callable[[Detector], None] = lambda _detector: None
        self._former: Detector | None = None
        self._place = detector.model.execution_provider
        self._patience = patience
        self._hopeless = hopeless
        self._watchdog: asyncio.Timeout | None = None
        self._thread: ScoringThread[_Outcome] = ScoringThread(f"score {settings.id}")
        self._failures = settings.telemetry.counter(SCORING_FAILURES, settings.id)
        self._duration = settings.telemetry.histogram(SCORING_DURATION, settings.id)
        self._health = settings.health
        self._hangs_since = math.inf
        self._log = LogLimiter(settings.logger)

    def replace(self, detector: Detector) -> None:
        """Have the next batches judged by *detector*."""
        if self._former is None:
            self._former = self.detector
        self.detector = detector
        self._place = detector.model.execution_provider

    async def judge(self, traces: Sequence[Trace]) -> Scored:
        """Judge, annotate and pack *traces*."""
        if self._thread.busy:
            return await self._without_verdict(traces, TIMEOUT, "scoring still hangs")
        detector, former, rules = self.detector, self._former, self.rules
        future = self._thread.submit(lambda: _judged(detector, former, traces, rules))
        self._watchdog = watchdog = asyncio.timeout(self._patience)
        try:
            async with watchdog:
                outcome = await future
        except Exception as error:  # noqa: BLE001 (fail open: any)
            text = "scoring hangs" if watchdog.expired() else repr(error)
            if former is not None:
                self._revert(detector, former, text)
            return await self._without_verdict(traces, TIMEOUT if watchdog.expired() else ERROR, text)
        finally:
            self._watchdog = None
        self._hangs_since = math.inf
        self._duration.observe(outcome.seconds)
        if self.detector is detector and detector.model.execution_provider != self._place:
            self._place = detector.model.execution_provider
            self.moved(detector)
        if outcome.failed is not None and former is not None:
            self._revert(detector, former, repr(outcome.failed))
        elif outcome.scored.error is None and self.detector is detector:
            self._former = None  # and with it its memory
        if outcome.scored.error is None:
            self._health.ok()
        else:
            self._note(repr(outcome.scored.error))
            self._health.recoverable(f"some traces could not be scored: {outcome.scored.error!r}")
        return outcome.scored

    def hurry(self, seconds: float) -> None:
        """Have no more patience than *seconds*, with the batch that is being scored neither."""
        self._patience = min(self._patience, seconds)
        if self._watchdog is not None:
            latest = asyncio.get_running_loop().time() + seconds
            self._watchdog.reschedule(min(self._watchdog.when() or latest, latest))

    def close(self) -> None:
        """Let the thread end."""
        self._thread.close()

    def _revert(self, failed: Detector, former: Detector, error: str) -> None:
        if self.detector is failed:  # and not a third one by now
            self.detector, self._former, self._place = former, None, former.model.execution_provider
            self.reverted(former, error)

    async def _without_verdict(self, traces: Sequence[Trace], reason: str, error: str) -> Scored:
        self._note(error)
        now = time.monotonic()
        if reason == TIMEOUT:
            self._hangs_since = min(self._hangs_since, now)
        if now - self._hangs_since >= self._hopeless:
            self._health.permanent("scoring hangs, all traces go on unscored: start the stage anew")
        else:
            self._health.recoverable(f"traces go on unscored: {error}")
        return await asyncio.to_thread(pass_unscored, traces, reason, self.rules)

    def _note(self, error: str) -> None:
        self._failures.add()
        self._log.warning("traces could not be scored and go on unscored", error=error)


class _Outcome(NamedTuple):
    """What came of a batch, how long it took, and the error of a detector that failed its probation on it."""

    scored: Scored
    seconds: float
    failed: Exception | None = None


def _judged(detector: Detector, former: Detector | None, traces: Sequence[Trace], rules: Rules) -> _Outcome:
    started = time.perf_counter()
    scored = score(detector, traces, rules)
    if scored.error is not None and former is not None:
        again = score(former, traces, rules)
        if again.error is None:
            return _Outcome(again, time.perf_counter() - started, scored.error)
    return _Outcome(scored, time.perf_counter() - started)
