"""What the stage said against what really happened: which faults were found, and how often it cried wolf."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from otel_tracead.errors import InputError
from otel_tracead.generator import AffectedTrace, Fault, Truth
from otel_tracead.reports.annotated import AnnotatedTrace, read_trace
from otel_tracead.traces.reading import TraceFile, read_traces


@dataclass(slots=True)
class FaultOutcome:
    """What was found of one injected fault.

    Attributes:
        number: of the fault, in `Truth.faults`.
        fault: as it was injected.
        affected: traces that it really changed.
        found: those of them that were marked.
        located: those of the found whose marks point at a span that the fault hit, or at another of its service.
        unscored: affected traces that were not judged, since most of what they hold was never seen in training.
    """

    number: int
    fault: Fault
    affected: int = 0
    found: int = 0
    located: int = 0
    unscored: int = 0

    @property
    def caught(self) -> bool:
        """Whether most of its traces were marked: nobody would have missed this fault."""
        return 2 * self.found > self.affected

    @property
    def where(self) -> str:
        """Name the place as people do: `frontend → cart`, `ad`."""
        return f"{self.fault.caller} → {self.fault.service}" if self.fault.caller else self.fault.service


@dataclass(slots=True)
class JudgedTrace:
    """A trace with what was said of it and what really happened to it.

    Attributes:
        trace: as it was read back.
        affected: by which fault it was changed, or None.
        located: whether the marks point at the right place.
    """

    trace: AnnotatedTrace
    affected: AffectedTrace | None
    located: bool


@dataclass(slots=True)
class Outcome:
    """What the stage said of a whole simulation.

    Attributes:
        start_unix_nano: of the simulation.
        faults: what was found of each, in their order in time.
        spans: how many came out.
        judged: every trace.
    """

    start_unix_nano: int
    faults: Sequence[FaultOutcome]
    spans: int = 0
    judged: list[JudgedTrace] = field(default_factory=list)

    @property
    def caught(self) -> int:
        """How many faults had most of their traces marked."""
        return sum(found.caught for found in self.faults)

    @property
    def marked(self) -> list[JudgedTrace]:
        """The traces that were marked."""
        return [one for one in self.judged if one.trace.anomalous]

    @property
    def affected(self) -> list[JudgedTrace]:
        """The traces that a fault changed."""
        return [one for one in self.judged if one.affected is not None]

    @property
    def clean(self) -> list[JudgedTrace]:
        """The traces that no fault touched."""
        return [one for one in self.judged if one.affected is None]

    @property
    def false_alarms(self) -> list[JudgedTrace]:
        """Clean traces that were marked."""
        return [one for one in self.clean if one.trace.anomalous]

    @property
    def unscored(self) -> Counter[str]:
        """How many traces were not judged, by reason."""
        return Counter(one.trace.unscored for one in self.judged if one.trace.unscored is not None)

    @property
    def quiet(self) -> list[JudgedTrace]:
        """The clean traces that began while no fault was on."""
        return [one for one in self.clean if not self.during_fault(one)]

    @property
    def quiet_alarm_rate(self) -> float:
        """Share of the quiet traces that were marked."""
        return sum(one.trace.anomalous for one in self.quiet) / max(len(self.quiet), 1)

    @property
    def recall(self) -> float:
        """Share of the affected traces that were marked."""
        affected = self.affected
        return sum(one.trace.anomalous for one in affected) / max(len(affected), 1)

    @property
    def false_alarm_rate(self) -> float:
        """Share of the clean traces that were marked."""
        return len(self.false_alarms) / max(len(self.clean), 1)

    def during_fault(self, one: JudgedTrace) -> bool:
        """Say whether a fault was on when a trace began: it may have waited in line behind those that were hit."""
        at_s = (one.trace.start_unix_nano - self.start_unix_nano) / 1e9
        return any(found.fault.holds(at_s) for found in self.faults)


def compare(path: Path, truth: Truth) -> Outcome:
    """Read annotated traces back from *path* and hold them against *truth*.

    Raises:
        InputError: the file cannot be read, or holds no trace.
    """
    outcome = judge(map(read_trace, read_traces([TraceFile(path)])), truth)
    if not outcome.judged:
        raise InputError(f"{path}: holds no trace")
    return outcome


def judge(traces: Iterable[AnnotatedTrace], truth: Truth) -> Outcome:
    """Hold annotated traces against *truth*."""
    affected = {trace.trace_id: trace for trace in truth.traces}
    faults = [FaultOutcome(number, fault) for number, fault in enumerate(truth.faults)]
    outcome = Outcome(truth.start_unix_nano, sorted(faults, key=lambda one: one.fault.start_s))
    for trace in traces:
        outcome.spans += trace.span_count
        hit = affected.get(trace.trace_id)
        located = hit is not None and _points_at(trace, hit)
        outcome.judged.append(JudgedTrace(trace, hit, located))
        if hit is not None:
            found = faults[hit.fault]
            found.affected += 1
            found.found += trace.anomalous
            found.located += located
            found.unscored += trace.unscored is not None
    return outcome


def _points_at(trace: AnnotatedTrace, hit: AffectedTrace) -> bool:
    return any(span.span_id in hit.span_ids or span.service == hit.service for span in trace.marked)
