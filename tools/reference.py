"""`python -m tools.reference`: writes the parts of docs/ that the source knows better than a person.

They stand between `<!-- reference: NAME -->` and `<!-- end -->`; a test compares them with what this module would write.
"""

import ast
import dataclasses
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args, get_origin

from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo

from otel_tracead import metrics
from otel_tracead.component import Kind
from otel_tracead.config_types import NotHere, WithoutEffect
from otel_tracead.exporting import QueueConfig, RetryConfig
from otel_tracead.service.registry import BUILT_IN, Registry
from otel_tracead.service.telemetry_config import TelemetryConfig
from otel_tracead.tls import ClientTls, ServerTls
from otel_tracead.training.architecture import Architecture
from otel_tracead.training.paper.settings import PaperConfig
from otel_tracead.training.recipe import Recipe
from otel_tracead.training.settings import ModelSection, TrainConfig, TrainingSection
from tools import schema
from tools.fields import alternatives, fields, is_marked

ROOT: Final = Path(__file__).parent.parent
DOCS: Final = (ROOT / "docs/configuration.md", ROOT / "docs/metrics.md", ROOT / "docs/architecture.md")
PACKAGES: Final = ("otel_tracead", "exporters/otel_tracead_exporters")

SHARED: Final[dict[type[BaseModel], str]] = {
    RetryConfig: "retry_on_failure",
    QueueConfig: "sending_queue",
    ServerTls: "tls of a listener",
    ClientTls: "tls of a connection",
}
"""Sections that several components have: described once, named where they stand."""

PRESET: Final = {ModelSection: Architecture, TrainingSection: Recipe}
"""What a key without a default of its own falls back to."""

PAPER: Final = "train --preset paper"
REFUSED: Final = "keys of the Collector that are not here"
WITHOUT_EFFECT: Final = "keys of the Collector without effect"
_LONGEST: Final = 60
_BLOCK: Final = re.compile(r"(<!-- reference: (?P<name>[^>]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def rewritten(text: str) -> str:
    """Give *text* with every block as it should be.

    Raises:
        KeyError: a block that nobody knows.
    """
    return _BLOCK.sub(lambda match: f"{match[1]}\n{_block(match['name'])}\n{match[3]}", text)


def names() -> list[str]:
    """Give the names of all blocks that the documents must have."""
    return [
        *_components(),
        *SHARED.values(),
        "service::telemetry",
        "train",
        PAPER,
        REFUSED,
        WITHOUT_EFFECT,
        "metrics",
        "modules",
    ]


def _components() -> list[str]:
    kinds = {kind: {*Registry().names(kind)} if kind is Kind.EXPORTER else {*BUILT_IN[kind]} for kind in Kind}
    return [f"{kind.singular} {name}" for kind, found in kinds.items() for name in sorted(found)]


def _block(name: str) -> str:
    if name == "metrics":
        return _table(("metric", "kind", "labels", "what"), _metrics())
    if name == "modules":
        return _table(("module", "its one reason"), _modules())
    if name in {REFUSED, WITHOUT_EFFECT}:
        return _table(("key", "of", "why"), _marked(NotHere if name == REFUSED else WithoutEffect))
    return _table(("key", "default", "meaning"), _keys(_model(name)))


def _model(name: str) -> type[BaseModel]:
    sections: dict[str, type[BaseModel]] = {
        "service::telemetry": TelemetryConfig,
        "train": TrainConfig,
        PAPER: PaperConfig,
        **{text: m for m, text in SHARED.items()},
    }
    if name in sections:
        return sections[name]
    kind, _, component = name.partition(" ")
    factory = Registry().find(Kind(f"{kind}s"), component)
    if factory is None:
        raise KeyError(name)
    model: type[BaseModel] = factory.config
    return model


def _table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    # Not as an entity: in `code` that would be shown as it stands.
    escaped = ([cell.replace("|", "\\|") for cell in line] for line in lines)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in escaped)


def _keys(model: type[BaseModel]) -> Iterator[tuple[str, str, str]]:
    for field in fields(model, closed=frozenset(SHARED)):
        hidden = field.section is not None and is_marked(field.section)
        if hidden or field.mark(NotHere) or field.mark(WithoutEffect):
            continue
        info, section = field.info, field.section
        meaning = f"{field.meaning}{_choices(info.annotation, field.meaning)}"
        shared = SHARED.get(section) if section is not None else None
        if shared is not None:
            meaning += f" See [{shared}](#{shared.lower().replace(' ', '-')})."
        preset = (
            {one.name: one.default for one in dataclasses.fields(PRESET[field.model])} if field.model in PRESET else {}
        )
        default = (
            f"`{preset[field.name]}`" if field.name in preset and info.default is None else _default(info, section)
        )
        yield f"`{field.key}`", default, meaning


def _marked(kind: type[NotHere | WithoutEffect]) -> Iterator[tuple[str, str, str]]:
    """List marked keys by their reason; sections that several components have stand for themselves."""
    found: dict[tuple[str, str], list[str]] = {}
    for name in (*_components(), *SHARED.values(), "service::telemetry"):
        for field in fields(_model(name), closed=frozenset(SHARED)):
            mark = field.mark(kind)
            if mark is not None:
                found.setdefault((field.key, mark.reason), []).append(name)
    for (key, reason), places in found.items():
        yield f"`{key}`", ", ".join(places), reason


def _choices(annotation: Any, said: str) -> str:
    words: list[str] = []
    for part in alternatives(annotation):
        if get_origin(part) is Literal:
            words += [str(word) for word in get_args(part) if isinstance(word, str) and word]
        elif isinstance(part, type) and issubclass(part, str) and part is not str:
            words += [str(word) for word in part]  # type: ignore[attr-defined]
    if all(f"`{word}`" in said for word in words):
        return ""
    return f" ({', '.join(f'`{word}`' for word in words)})"


def _default(info: FieldInfo, section: type[BaseModel] | None) -> str:
    if info.is_required():
        return "required"
    value = info.get_default(call_default_factory=True)
    if section is not None:
        return "off" if value is None else ""
    if value is None:
        return "none"
    annotated: Any = Annotated[info.annotation, *info.metadata] if info.metadata else info.annotation
    return _said(TypeAdapter(annotated).dump_python(value, mode="json"))


def _said(value: object) -> str:
    """Give a default as YAML would have it; a long list by its length."""
    if isinstance(value, bool):
        text = str(value).lower()
    elif isinstance(value, (list, dict)):
        if len(str(value)) > _LONGEST:
            return f"{len(value)} of them"
        text = str(value).replace("'", "")
    else:
        text = str(value)
    return f"`{text}`" if text else '`""`'


def _metrics() -> Iterator[tuple[str, str, str, str]]:
    for metric in metrics.CATALOGUE:
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        unit = "" if metric.unit.startswith("{") else f" ({metric.unit})"
        yield f"`{metric.name}`", f"{metric.instrument}{unit}", labels, metric.description


def _modules() -> Iterator[tuple[str, str]]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            documented = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
            yield f"`{path.relative_to(ROOT)}`", " ".join(documented.partition("\n\n")[0].split())


def main() -> None:
    """Rewrite the documents in place, and name those that changed."""
    for path in DOCS:
        before = path.read_text(encoding="utf-8")
        after = rewritten(before)
        if after != before:
            path.write_text(after, encoding="utf-8")
            sys.stdout.write(f"{path.relative_to(ROOT)}\n")
    if schema.PATH.read_text(encoding="utf-8") != schema.text():
        schema.PATH.write_text(schema.text(), encoding="utf-8")
        sys.stdout.write(f"{schema.PATH.relative_to(ROOT)}\n")


if __name__ == "__main__":
    main()
