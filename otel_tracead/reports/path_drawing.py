"""Execution paths as pictures: a row a call, indented below its caller, with bars for what is concurrent."""

import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from otel_tracead.detection.paths import Group, Node, Operation
from otel_tracead.reports import rendering
from otel_tracead.reports.path_words import (
    AT_ONCE,
    call_note,
    colours_of,
    operation_title,
    printable,
    service_of,
)
from otel_tracead.reports.rendering import count

_ROW: Final = 24
_INDENT: Final = 26
_LEFT: Final = 14
_CHARACTER: Final = 7.1  # pixels, of the font that is asked for, a little too many
_LONGEST: Final = 110
_MARGIN: Final = 70  # for the words at a bar


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One call; places are pixels.

    Attributes:
        x: of its mark.
        y: of its middle.
        trunk: where its caller's line runs down, None of the root.
        colour: of its service.
        service: words that stand out, may be empty.
        text: the rest of the label.
        full: the whole label.
        note: what is uncertain about the call.
        waits: `above` if it waits for the call above it, `earlier` if for one further up, else empty.
        waited: names of the calls that it waits for.
        again: name of the call after which more such calls come, or empty.
    """

    x: int
    y: int
    trunk: int | None
    colour: str
    service: str
    text: str
    full: str
    note: str
    waits: str
    waited: str
    again: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """Calls that are concurrent, with what they call: a box from *y*, with words."""

    x: int
    y: int
    height: int
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One operation, drawn.

    Attributes:
        title: its name and number of traces.
        width: pixels.
        height: pixels.
        rows: its calls.
        bars: what is concurrent.
        trunks: lines from a caller down to its last call: x, from y, to y.
    """

    title: str
    width: int
    height: int
    rows: tuple[Row, ...]
    bars: tuple[Bar, ...]
    trunks: tuple[tuple[int, int, int], ...]


def draw(operations: Iterable[Operation], services: Sequence[str], most_rows: int | None = None) -> list[Picture]:
    """Draw operations; of one with more than *most_rows* calls only the upper levels, as many as fit."""
    find, colour = service_of(services), colours_of(services)
    return [_draw(one, find, colour, most_rows) for one in operations]


def document(operations: Sequence[Operation], services: Sequence[str]) -> str:
    """Give one SVG document that holds all *operations*, one below the other."""
    pictures = draw(operations, services)
    tops = [0]
    for one in pictures:
        tops.append(tops[-1] + one.height + 2 * _ROW)
    width = max((one.width for one in pictures), default=0)
    return rendering.render(
        "paths.svg",
        pictures=list(zip(tops, pictures, strict=False)),
        width=max(width, 700),
        height=tops[-1] + 3 * _ROW,
    )


def _draw(
    operation: Operation, find: Callable[[str], str], colour: Callable[[str], str], most_rows: int | None
) -> Picture:
    deepest = _deepest(operation.nodes, most_rows)
    shown = [node for node in operation.nodes if node.depth <= deepest]
    place = {node.id: row for row, node in enumerate(shown)}
    below = _below(operation.nodes)
    group_of = {member: group for group in operation.groups for member in group.members}
    callees = operation.callees()
    rows, bars, trunks = [], [], []
    for row, node in enumerate(shown):
        service = find(node.label)
        waits, waited = _waits(operation, callees, group_of.get(node.id), node)
        note = [call_note(node)] if node.caller is not None else []
        if node.rarer:
            note.append(f"+ {count(node.rarer)} rarer")
        if node.depth == deepest and below[node.id]:
            note.append(f"+ {count(below[node.id])} below")
        said = node.label.removeprefix(f"{service} ") if service else node.label
        rows.append(
            Row(
                x=_x(node.depth),
                y=_y(row),
                trunk=None if node.caller is None else _x(node.depth - 1),
                colour=colour(service),
                service=printable(service) if said != node.label else "",
                text=_short(printable(said)),
                full=printable(node.label),
                note=" · ".join(filter(None, note)),
                waits=waits,
                waited=waited,
                again="" if node.again_after is None else printable(operation.nodes[node.again_after].label),
            )
        )
        if node.id in callees and node.depth < deepest:
            last = max(place[member] for group in callees[node.id] for member in group.members)
            trunks.append((_x(node.depth), _y(row), _y(last)))
    for group in operation.groups:
        if len(group.members) > 1 and group.members[0] in place:
            first = place[group.members[0]]
            last = max(
                place[member] + min(below[member], _rows_below(shown, place[member])) for member in group.members
            )
            whole = len(group.members) * (len(group.members) - 1) // 2
            words = AT_ONCE if len(group.pairs) == whole else f"some {AT_ONCE}"
            depth = operation.nodes[group.members[0]].depth
            bars.append(
                Bar(
                    x=_x(depth) - _INDENT // 2 + 1,
                    y=first * _ROW + 2,
                    height=(last - first + 1) * _ROW - 4,
                    words=words,
                )
            )
    width = max(
        row.x + _CHARACTER * (_columns(row.service) + _columns(row.text) + _columns(row.note) + 6) for row in rows
    )
    return Picture(
        title=printable(operation_title(operation)),
        width=int(width) + (_MARGIN if bars else 0),
        height=len(rows) * _ROW,
        rows=tuple(rows),
        bars=tuple(bars),
        trunks=tuple(trunks),
    )


def _x(depth: int) -> int:
    return _LEFT + depth * _INDENT


def _y(row: int) -> int:
    return row * _ROW + _ROW // 2


def _deepest(nodes: Sequence[Node], most_rows: int | None) -> int:
    """Give the level down to which nodes are shown."""
    depths = sorted(node.depth for node in nodes)
    if most_rows is None or len(depths) <= most_rows:
        return depths[-1]
    return max(depths[most_rows] - 1, 1)


def _below(nodes: Sequence[Node]) -> list[int]:
    """Count the calls below each node; callers stand before callees."""
    found = [0] * len(nodes)
    for node in reversed(nodes):
        if node.caller is not None:
            found[node.caller] += 1 + found[node.id]
    return found


def _rows_below(shown: Sequence[Node], row: int) -> int:
    """Count the rows that stand below one as its calls."""
    end = row + 1
    while end < len(shown) and shown[end].depth > shown[row].depth:
        end += 1
    return end - row - 1


def _waits(operation: Operation, callees: dict[int, list[Group]], group: Group | None, node: Node) -> tuple[str, str]:
    """Say whether a call waits for the one above it or for an earlier one, and for which."""
    if group is None:
        return "", ""
    siblings = callees[group.caller]
    inner = [before for before, after in group.order if after == node.id]
    waited = [*(member for position in group.after for member in siblings[position].members), *inner]
    if not waited:
        return "", ""
    above = group.position - 1 in group.after and node.id == group.members[0]
    place = group.members.index(node.id)
    above |= place > 0 and group.members[place - 1] in inner
    names = ", ".join(printable(operation.nodes[member].label) for member in waited[:5])
    more = f" and {len(waited) - 5} more" if len(waited) > 5 else ""
    return "above" if above else "earlier", names + more


def _columns(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(one) in "WF" else 1 for one in text)


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
