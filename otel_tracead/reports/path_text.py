"""Execution paths as text for other programs: JSON, and the graph languages DOT and Mermaid."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Final

import orjson

from otel_tracead.artifact.call_paths import CallPaths
from otel_tracead.artifact.manifest import Manifest
from otel_tracead.detection.paths import TOLERANCE, Group, Node, Operation
from otel_tracead.reports.path_words import AT_ONCE, call_note, operation_title, printable

SCHEMA_VERSION: Final = 1
_MERMAID: Final = re.compile(r"[\"#<>&`\\]")


def to_json(operations: Sequence[Operation], manifest: Manifest, paths: CallPaths) -> bytes:
    """Give the document that docs/paths.md describes."""
    traces, looked_at, spans, placed = paths.totals.tolist()
    content = {
        "schema_version": SCHEMA_VERSION,
        "model": {"name": manifest.name, "version": manifest.version},
        "tolerance": TOLERANCE,
        "traces": traces,
        "traces_looked_at": looked_at,
        "spans": spans,
        "spans_placed": placed,
        "operations": [_operation(one) for one in operations],
    }
    return orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _operation(operation: Operation) -> dict[str, object]:
    shown = ("id", "label", "depth", "concurrent", "rarer", "again_after")
    return {
        "root": operation.root,
        "traces": operation.traces,
        "nodes": [{name: getattr(node, name) for name in shown} for node in operation.nodes],
        "edges": [
            {
                "caller": node.caller,
                "callee": node.id,
                "probability": round(node.probability, 4),
                "mean_count": round(node.mean_count, 4),
            }
            for node in operation.nodes
            if node.caller is not None
        ],
        "groups": [asdict(group) for group in operation.groups],
    }


def to_dot(operations: Sequence[Operation], colours: Callable[[str], str]) -> str:
    """Give one graph for Graphviz, with a cluster for each operation; *colours* gives a label's."""
    lines = [
        "digraph paths {",
        '  graph [rankdir=LR, compound=true, fontname="Helvetica", labeljust=l];',
        '  node [shape=box, style=rounded, penwidth=2, fontname="Helvetica", fontsize=11];',
        '  edge [fontname="Helvetica", fontsize=10];',
    ]
    for number, operation in enumerate(operations):
        lines += [f"  subgraph cluster_{number} {{", f"    label={_dot(operation_title(operation))};"]
        lines += (f"    {line}" for line in _dot_body(operation, number, colours))
        lines += ["  }"]
    return "\n".join([*lines, "}", ""])


def _dot_body(operation: Operation, number: int, colours: Callable[[str], str]) -> Iterator[str]:
    def name(node: int) -> str:
        return f"n{number}_{node}"

    for node in operation.nodes:
        yield f"{name(node.id)} [label={_dot(node.label)}, color={_dot(colours(node.label))}];"
    for node in _calls(operation):
        note = call_note(node)
        yield f"{name(node.caller or 0)} -> {name(node.id)}" + (f" [label={_dot(note)}]" if note else "") + ";"
    boxes: dict[int, str] = {}
    for group in _boxed(operation):
        box = f"cluster_{number}_{group.members[0]}"
        boxes |= dict.fromkeys(group.members, box)
        yield f"subgraph {box} {{ label={_dot(AT_ONCE)}; style=dashed; {' '.join(name(m) + ';' for m in group.members)} }}"
    for wait in _waits(operation):
        ends = {"label": _dot(wait.words)} if wait.words else {}
        if not wait.inside:
            ends |= {key: boxes[end] for key, end in (("ltail", wait.before), ("lhead", wait.after)) if end in boxes}
        more = "".join(f", {key}={value}" for key, value in ends.items())
        line = f"{name(wait.before)} -> {name(wait.after)}"
        yield f"{line} [style=dashed, color=gray50, constraint=false{more}];"


def to_mermaid(operations: Sequence[Operation], colours: Callable[[str], str]) -> str:
    """Give one flowchart for Mermaid, with a subgraph for each operation; *colours* gives a label's."""
    lines = ["flowchart LR"]
    classes: dict[str, list[str]] = {}
    for number, operation in enumerate(operations):
        lines += [f"  subgraph op{number}[{_mermaid(operation_title(operation))}]"]
        lines += (f"    {line}" for line in _mermaid_body(operation, number))
        lines += ["  end"]
        for node in operation.nodes:
            classes.setdefault(colours(node.label), []).append(f"n{number}_{node.id}")
    for place, (colour, members) in enumerate(classes.items()):
        lines += [f"  classDef c{place} stroke:{colour},stroke-width:2px", f"  class {','.join(members)} c{place}"]
    return "\n".join([*lines, ""])


def _mermaid_body(operation: Operation, number: int) -> Iterator[str]:
    def name(node: int) -> str:
        return f"n{number}_{node}"

    boxes: dict[int, str] = {}
    inner: dict[int, list[str]] = {}
    for group in _boxed(operation):
        boxes |= dict.fromkeys(group.members, f"g{number}_{group.members[0]}")
    for node in operation.nodes:
        line = f"{name(node.id)}[{_mermaid(node.label)}]"
        if node.id in boxes:
            inner.setdefault(min(member for member in boxes if boxes[member] == boxes[node.id]), []).append(line)
        else:
            yield line
    for first, members in inner.items():
        yield f"subgraph {boxes[first]}[{_mermaid(AT_ONCE)}]"
        yield from (f"  {line}" for line in members)
        yield "end"
    for node in _calls(operation):
        note = call_note(node)
        yield f"{name(node.caller or 0)} -->{f'|{_mermaid(note)}|' if note else ''} {name(node.id)}"
    for wait in _waits(operation):
        ends = (wait.before, wait.after)
        one, other = (name(end) if wait.inside else boxes.get(end, name(end)) for end in ends)
        yield f"{one} -. {wait.words or 'then'} .-> {other}"


def _calls(operation: Operation) -> Iterator[Node]:
    return (node for node in operation.nodes if node.caller is not None)


def _boxed(operation: Operation) -> Iterator[Group]:
    return (group for group in operation.groups if len(group.members) > 1)


@dataclass(frozen=True, slots=True)
class _Wait:
    """An arrow between siblings: `after` waits for `before`, or comes again after it.

    Attributes:
        before: node.
        after: node.
        inside: whether the two nodes are meant, and not the groups that they stand for.
        words: at the arrow.
    """

    before: int
    after: int
    inside: bool
    words: str = ""


def _waits(operation: Operation) -> Iterator[_Wait]:
    for groups in operation.callees().values():
        for group in groups:
            for position in group.after:
                yield _Wait(groups[position].members[0], group.members[0], inside=False)
            for before, after in group.order:
                yield _Wait(before, after, inside=True)
    for node in operation.nodes:
        if node.again_after is not None:
            yield _Wait(node.again_after, node.id, inside=True, words="again")


def _dot(text: str) -> str:
    """Quote a string for DOT, where a backslash begins an escape of labels."""
    return '"' + printable(text).replace("\\", "\\\\").replace('"', '\\"') + '"'


def _mermaid(text: str) -> str:
    """Quote a string for Mermaid, whose entities begin with a number sign."""
    return '"' + _MERMAID.sub(lambda found: f"#{ord(found[0])};", printable(text)) + '"'
