"""Execution paths: for each root operation the tree of calls, which of them wait for each other, and which are concurrent.

Definitions, with a tolerance (docs/paths.md): a call *depends* on a sibling if that one began before it, and they did not
overlap, in all but a tolerated share of the cases where both came. Siblings that overlap in more cases than are tolerated
are *concurrent*, any number of them; where they run in different processes, whose clocks may differ, both orders are
enough. The paper knows pairs, and probability exactly 1.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from otel_tracead.artifact.call_paths import CallPaths
from otel_tracead.detection.path_learning import call_name
from otel_tracead.traces.dictionary import Dictionary

TOLERANCE: Final = 0.05
"""Share of the cases that may speak against what is said of a call or of two siblings."""
_FEWEST: Final = 5  # callers that made both calls, to say how they lie to each other


@dataclass(frozen=True, slots=True)
class Node:
    """A label at its place in the tree of calls of one operation.

    Attributes:
        id: counts in the operation, the root is 0; in the order in which people read: callers first, then by position.
        label: without a status: failed calls stand at the same place.
        caller: the calling node, None of the root.
        depth: 0 of the root.
        probability: share of the caller's events that made this call at least once; 1 of the root.
        mean_count: how many such calls those made on average.
        concurrent: whether several such calls of one caller overlap.
        rarer: kinds of call below this node that came too rarely to be shown.
        again_after: the last sibling after which more such calls come, as in rounds; None if there is none.
    """

    id: int
    label: str
    caller: int | None
    depth: int
    probability: float
    mean_count: float
    concurrent: bool
    rarer: int
    again_after: int | None = None

    @property
    def certain(self) -> bool:
        """Whether the caller makes this call exactly once, as good as always."""
        return self.probability >= 1 - TOLERANCE and not self.repeated

    @property
    def repeated(self) -> bool:
        """Whether callers make this call more than once, and not by a rare retry only."""
        return self.mean_count > 1 + TOLERANCE


@dataclass(frozen=True, slots=True)
class Group:
    """Calls of one caller that are concurrent, or one call alone; groups of a caller stand one after the other.

    Attributes:
        caller: node.
        position: counts the groups of one caller.
        members: nodes, each concurrent with another one, or a single one.
        concurrent: whether there are several members; of a single one: whether several calls of its kind overlap.
        certain: whether each member comes exactly once, as good as always.
        after: positions of the groups of which one member or more are waited for; what those wait for is left out.
        pairs: the members that are concurrent; in most groups all with all.
        order: members of which the second waits for the first all the same (both are concurrent with a third).
    """

    caller: int
    position: int
    members: tuple[int, ...]
    concurrent: bool
    certain: bool
    after: tuple[int, ...]
    pairs: tuple[tuple[int, int], ...]
    order: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Operation:
    """The execution paths of one root operation.

    Attributes:
        root: its label.
        traces: how many training showed.
        nodes: by id.
        groups: by caller, then position.
    """

    root: str
    traces: int
    nodes: tuple[Node, ...]
    groups: tuple[Group, ...]

    def callees(self) -> dict[int, list[Group]]:
        """Give the groups of each caller that makes calls."""
        found: dict[int, list[Group]] = {}
        for group in self.groups:
            found.setdefault(group.caller, []).append(group)
        return found


def operations(paths: CallPaths, dictionary: Dictionary) -> list[Operation]:
    """Give the execution paths of all root operations, the most frequent first."""
    children: dict[int, list[int]] = {}
    for row, caller in enumerate(paths.places[:, 0].tolist()):
        children.setdefault(caller, []).append(row)
    drawn = _Drawing(paths, dictionary, children)
    return sorted((drawn.operation(row) for row in children.get(-1, ())), key=lambda one: (-one.traces, one.root))


class _Drawing:
    """The rows of `CallPaths` as plain numbers, and how each pair of siblings lies."""

    def __init__(self, paths: CallPaths, dictionary: Dictionary, children: dict[int, list[int]]) -> None:
        self._rows: list[list[int]] = paths.places.tolist()
        self._names = [call_name(dictionary.labels[row[1]]) for row in self._rows]
        self._children = children
        self._precedes: set[tuple[int, int]] = set()
        self._concurrent: set[tuple[int, int]] = set()
        self._again: dict[int, set[int]] = {}
        for first, second, together, before, after, apart, again in paths.pairs.tolist():
            if together < _FEWEST:
                continue
            if _tolerated(together - before, together) or _tolerated(together - after, together):
                ordered = (first, second) if before >= after else (second, first)
                self._precedes.add(ordered)
                if again >= _FEWEST and not _tolerated(again, self._rows[ordered[0]][4]):
                    self._again.setdefault(ordered[0], set()).add(ordered[1])
            elif not _tolerated(together - before - after, together) or 2 * apart > together:
                self._concurrent |= {(first, second), (second, first)}
            # What remains comes in either order, one at a time: neither waits for the other.

    def operation(self, root: int) -> Operation:
        nodes: list[Node] = []
        groups: list[Group] = []
        waiting: list[tuple[int, int | None, int]] = [(root, None, 0)]  # a stack: row, caller, depth
        number: dict[int, int] = {}
        sequences: list[tuple[int, list[_Stage]]] = []
        while waiting:
            row, caller, depth = waiting.pop()
            number[row] = len(nodes)
            nodes.append(self._node(row, len(nodes), caller, depth))
            stages = self._stages(self._children.get(row, []))
            sequences.append((number[row], stages))
            below = [(member, number[row], depth + 1) for stage in stages for member in stage.members]
            waiting += reversed(below)
        for row in self._again.keys() & number.keys():
            last = max(number[other] for other in self._again[row])
            nodes[number[row]] = replace(nodes[number[row]], again_after=last)
        for caller, stages in sequences:
            groups += (self._group(caller, stage, number, nodes) for stage in stages)
        return Operation(self._names[root], self._rows[root][3], tuple(nodes), tuple(groups))

    def _node(self, row: int, number: int, caller: int | None, depth: int) -> Node:
        above, _, callers, events, several, at_once, rarer = self._rows[row]
        return Node(
            id=number,
            label=self._names[row],
            caller=caller,
            depth=depth,
            probability=1.0 if above < 0 else callers / self._rows[above][3],
            mean_count=events / callers,
            concurrent=at_once >= _FEWEST and not _tolerated(at_once, several),
            rarer=rarer,
        )

    def _group(self, caller: int, stage: "_Stage", number: dict[int, int], nodes: Sequence[Node]) -> Group:
        members = tuple(number[row] for row in stage.members)
        inner = {(one, other) for one in stage.members for other in stage.members if (one, other) in self._precedes}
        return Group(
            caller=caller,
            position=stage.position,
            members=members,
            concurrent=len(members) > 1 or nodes[members[0]].concurrent,
            certain=all(nodes[member].certain for member in members),
            after=stage.after,
            pairs=tuple(
                (number[one], number[other])
                for place, one in enumerate(stage.members)
                for other in stage.members[place + 1 :]
                if (one, other) in self._concurrent
            ),
            order=tuple(sorted((number[one], number[other]) for one, other in _reduced(inner))),
        )

    def _stages(self, siblings: Sequence[int]) -> list["_Stage"]:
        """Put siblings into groups that are concurrent, and those one after the other."""
        groups = list(self._connected(siblings))
        # How often members of one group precede those of another, less the other way round.
        lead = [[self._lead(one, other) for other in groups] for one in groups]
        score = [sum((value > 0) - (value < 0) for value in row) for row in lead]
        left = set(range(len(groups)))
        order: list[int] = []
        while left:
            free = [one for one in left if not any(lead[other][one] > 0 for other in left)]
            order.append(
                min(
                    free or left,
                    key=lambda one: (-score[one], -self._rows[groups[one][0]][2], self._names[groups[one][0]]),
                )
            )
            left.remove(order[-1])
        place = {group: position for position, group in enumerate(order)}
        waits = {
            (place[one], place[other])
            for one in order
            for other in order
            if lead[one][other] > 0 and place[one] < place[other]
        }
        direct = _reduced(waits)
        return [
            _Stage(position, tuple(groups[group]), tuple(sorted(one for one, other in direct if other == position)))
            for position, group in enumerate(order)
        ]

    def _lead(self, one: Sequence[int], other: Sequence[int]) -> int:
        pairs = [(a, b) for a in one for b in other]
        return sum(((a, b) in self._precedes) - ((b, a) in self._precedes) for a, b in pairs)

    def _connected(self, siblings: Sequence[int]) -> Iterator[list[int]]:
        """Give the sets of siblings that are tied together by being concurrent, each by order and name."""
        left = list(siblings)
        while left:
            group = [left.pop(0)]
            for member in group:  # grows while it is walked
                tied = [other for other in left if (member, other) in self._concurrent]
                group += tied
                left = [other for other in left if other not in tied]
            yield sorted(
                group,
                key=lambda one: (
                    sum((other, one) in self._precedes for other in group),
                    -self._rows[one][2],
                    self._names[one],
                ),
            )


@dataclass(frozen=True, slots=True)
class _Stage:
    position: int
    members: tuple[int, ...]
    after: tuple[int, ...]


def _tolerated(contrary: int, seen: int) -> bool:
    return contrary <= max(1, TOLERANCE * seen)


def _reduced(pairs: set[tuple[int, int]]) -> set[tuple[int, int]]:
    """Leave out what follows from the others: a before c where a is before b and b before c."""
    between = {one for one, _ in pairs} & {other for _, other in pairs}
    return {(one, other) for one, other in pairs if not any((one, b) in pairs and (b, other) in pairs for b in between)}
