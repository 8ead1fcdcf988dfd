"""The same sequences as `otel_tracead.traces.sequences`, one span at a time and by recursion: slow and plain."""

from dataclasses import dataclass, field

import numpy as np

from otel_tracead.traces.parents import Spans


@dataclass(eq=False)
class Row:
    trace: int
    span_id: int
    parent_id: int
    start: int
    end: int
    server: bool
    clock: int
    label: int
    parent: "Row | None" = None
    repeated: bool = False
    children: "list[Row]" = field(default_factory=list)

    @property
    def duration(self) -> int:
        return max(self.end - self.start, 0)

    @property
    def content(self) -> tuple[int, ...]:
        return (self.server, self.start, self.end, self.label, self.parent_id, self.clock)

    @property
    def key(self) -> tuple[int, ...]:
        return (self.start, self.label, self.span_id)

    @property
    def callee(self) -> "Row | None":
        remote = [child for child in self.children if child.clock != self.clock]
        return min(remote, key=lambda child: (child.label, child.span_id), default=None)

    @property
    def self_time(self) -> int:
        taken = 0
        for clock in {child.clock for child in self.children}:
            ours = [child for child in self.children if child.clock == clock]
            if clock == self.clock:
                parts = [(max(child.start, self.start), min(child.start + child.duration, self.end)) for child in ours]
            else:
                waited = [child for child in ours if child.duration <= 1.05 * self.duration]
                parts = [(child.start, child.start + child.duration) for child in waited]
            taken += len({tick for first, last in parts for tick in range(first // 1000, last // 1000)}) * 1000
        return max(self.duration - taken, 0)


def columns(rows: list[Row]) -> Spans:
    return Spans(
        trace=np.array([row.trace for row in rows], np.int64),
        span_id=np.array([row.span_id for row in rows], np.uint64),
        parent_id=np.array([row.parent_id for row in rows], np.uint64),
        start=np.array([row.start for row in rows], np.int64),
        end=np.array([row.end for row in rows], np.int64),
        server=np.array([row.server for row in rows], np.bool_),
        clock=np.array([row.clock for row in rows], np.int64),
        label=np.array([row.label for row in rows], np.int64),
    )


def link(rows: list[Row]) -> None:
    """Give the rows of one trace their parents and children."""
    for row in rows:
        row.parent, row.repeated, row.children = None, False, []
    owner: dict[int, Row] = {}
    for span_id in {row.span_id for row in rows}:
        same: list[Row] = []
        for row in (row for row in rows if row.span_id == span_id):
            row.repeated = any(row.content == other.content for other in same)
            if not row.repeated:
                same.append(row)
        same.sort(key=lambda row: row.content)
        owner[span_id] = same[-1]
        for row in same[1:]:
            if row.server and not same[0].server:
                row.parent = same[0]
    for row in rows:
        if row.parent is None and not row.repeated and row.parent_id:
            found = owner.get(row.parent_id)
            row.parent = None if found is row else found
    for row in rows:
        walked: list[Row] = []
        above: Row | None = row
        while above is not None and above not in walked:
            walked.append(above)
            above = above.parent
        if above is not None:
            cycle = walked[walked.index(above) :]
            min(cycle, key=lambda one: one.key).parent = None
    for row in rows:
        if row.parent is not None:
            row.parent.children.append(row)


def ordered(siblings: list[Row]) -> list[Row]:
    """Order siblings by start, and runs of concurrent ones by label and by what they call."""
    runs: list[list[Row]] = []
    for row in sorted(siblings, key=lambda one: one.key):
        if runs and _concurrent(runs[-1][-1], row):
            runs[-1].append(row)
        else:
            runs.append([row])
    out: list[Row] = []
    for run in runs:
        out.extend(sorted(run, key=lambda one: (one.label, one.callee.label if one.callee else -1)))
    return out


def _concurrent(before: Row, after: Row) -> bool:
    overlap = min(before.end, after.end) - after.start
    return before.clock == after.clock and overlap > 2000 and overlap > 0.5 * min(before.duration, after.duration)


def depth_first(siblings: list[Row]) -> list[Row]:
    out: list[Row] = []
    for row in ordered(siblings):
        out.append(row)
        out.extend(depth_first(row.children))
    return out


def depth(row: Row) -> int:
    return 0 if row.parent is None else 1 + depth(row.parent)
