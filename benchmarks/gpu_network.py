"""The network by itself, on any provider: spans a second, CPU time and latency a run, and whether two providers agree."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.spans import Source
from otel_tracead.artifact import folder
from otel_tracead.detection.detector import DetectionSettings, load_detector
from otel_tracead.detection.scorer import OUTPUTS, Scorer
from otel_tracead.detection.session import Provider, Run, Session
from otel_tracead.traces.offline import gather
from otel_tracead.wire.batch import group

SCORED: Final = OUTPUTS[:3]
"""What scoring asks the network for."""
_SPANS: Final = 45  # of a trace: the mean of Online Boutique
_LARGE: Final = 4096  # traces in a run
_SEVERAL: Final = 8  # different runs, so that no cache is warmer than it would be


@dataclass(frozen=True, slots=True)
class Cost:
    """What runs of one size cost.

    Attributes:
        provider: `cuda` or `cpu`.
        traces: in a run.
        cpu_us: CPU time of a run, microseconds, of all threads; the best of several rounds.
        wall_us: until its result was there, likewise.
    """

    provider: str
    traces: int
    cpu_us: float
    wall_us: float

    @property
    def cpu_us_span(self) -> float:
        """CPU microseconds a span."""
        return self.cpu_us / (self.traces * _SPANS)


@dataclass(frozen=True, slots=True)
class Agreement:
    """How two providers' verdicts differ on the same traces.

    Attributes:
        traces: how many there were.
        anomalous: how many of them the first marks.
        different: how many only one of the two marks.
        score: the largest difference of a trace's score, in decades.
    """

    traces: int
    anomalous: int
    different: int
    score: float


class Network:
    """The network of a model artifact, and runs of it on random traces: which labels they hold changes no time.

    Args:
        model: the artifact.
    """

    def __init__(self, model: Path) -> None:
        artifact = folder.load(model)
        self._bytes, self._state = artifact.network, artifact.manifest.network.state
        self._labels = len(artifact.dictionary)
        self._random = np.random.default_rng(0)

    def session(self, provider: Provider) -> Session:
        """Make a session.

        Raises:
            RuntimeError: `cuda` does not work.
        """

        def try_out(run: Run) -> None:
            run(SCORED, self._feeds(1))

        return Session(self._bytes, try_out, provider=provider)

    def spans_a_second(self, session: Session, seconds: float) -> float:
        """Count what goes through in large runs, made ready before, that are read while the next is computed."""
        several = [self._feeds(_LARGE) for _ in range(_SEVERAL)]
        for _ in session.stream(SCORED, several):
            pass
        runs, begun = 0, time.perf_counter()

        def until_the_end() -> Iterator[Any]:
            for one in repeat(several):
                yield from one
                if time.perf_counter() - begun > seconds:
                    return

        for _ in session.stream(SCORED, until_the_end()):
            runs += 1
        return runs * _LARGE * _SPANS / (time.perf_counter() - begun)

    def scored_a_second(self, provider: Provider, seconds: float) -> float:
        """Count what `Scorer` takes: packing into runs and reading their results is part of it."""
        scorer = Scorer(self._bytes, state=self._state, labels=self._labels, provider=provider)
        lengths = self._random.integers(1, 2 * _SPANS, _LARGE)
        offsets = np.concatenate(([0], np.cumsum(lengths)))
        label = self._random.integers(1, self._labels, int(offsets[-1]))
        times = self._random.normal(0, 1, int(offsets[-1]))
        scorer.surprise(label, times, offsets)
        rounds, begun = 0, time.perf_counter()
        while time.perf_counter() - begun < seconds:
            scorer.surprise(label, times, offsets)
            rounds += 1
        return rounds * int(offsets[-1]) / (time.perf_counter() - begun)

    def costs(self, session: Session, sizes: Sequence[int], rounds: int = 30) -> list[Cost]:
        """Measure runs of *sizes* traces."""
        found = []
        for traces in sizes:
            feeds = self._feeds(traces)
            session.run(SCORED, feeds)
            cpu, wall = [], []
            for _ in range(rounds):
                before = time.process_time(), time.perf_counter()
                session.run(SCORED, feeds)
                cpu.append(time.process_time() - before[0])
                wall.append(time.perf_counter() - before[1])
            found.append(Cost(session.execution_provider, traces, 1e6 * min(cpu), 1e6 * min(wall)))
        return found

    def _feeds(self, traces: int) -> dict[str, Any]:
        labels = self._random.integers(1, self._labels, (traces, _SPANS + 1)).astype(np.int32)
        times = self._random.normal(0, 1, (*labels.shape, 1)).astype(np.float32)
        return {"labels": labels, "times": times, "state": np.zeros((traces, self._state), np.float32)}


def agreement(origin: Source, spans: int, providers: Sequence[Provider]) -> Agreement:
    """Have two *providers* judge the same traces."""
    pool = origin.spans(spans)
    traces = list(gather([group([envelope for envelope, _ in pool], [span for _, span in pool])]))
    one, other = (
        load_detector(
            origin.model, settings=DetectionSettings(), execution_provider=provider, require_report_card=False
        ).judge(traces)
        for provider in providers
    )
    marked = np.array([[verdict.anomalous for verdict in verdicts] for verdicts in (one, other)])
    scores = np.array([[verdict.score for verdict in verdicts] for verdicts in (one, other)])
    return Agreement(
        traces=len(traces),
        anomalous=int(marked[0].sum()),
        different=int((marked[0] != marked[1]).sum()),
        score=float(np.abs(scores[0] - scores[1]).max()),
    )
