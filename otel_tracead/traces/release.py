"""When an open trace is released: the policy, apart from the state that it rules."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleasePolicy:
    """How long traces wait for their spans, and how many may wait.

    Attributes:
        wait_duration: seconds from a trace's first span to its release.
        wait_after_root: seconds from the arrival of its root to its release, if that is earlier; 0 = off.
        num_traces: open traces held; the next one has the oldest released.
        max_spans_per_trace: spans held of one trace; the next one has the trace released.
        decision_cache: verdicts remembered for spans that come later.
    """

    wait_duration: float = 10.0
    wait_after_root: float = 0.0
    num_traces: int = 50_000
    max_spans_per_trace: int = 10_000
    decision_cache: int = 100_000

    def __post_init__(self) -> None:
        for name in ("num_traces", "max_spans_per_trace", "decision_cache"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")
        if self.wait_duration < 0 or self.wait_after_root < 0:
            raise ValueError("a trace cannot wait for less than no time")
