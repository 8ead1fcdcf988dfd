"""`python -m tools.reference`: writes the parts of docs/ that the source knows better than a person.

They stand between `<!-- reference: NAME -->` and `<!-- end -->`; a test compares them with what this module would write.
"""

import ast
import re
import sys
import types
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo

from otel_tracead import telemetry
from otel_tracead.component import Kind
from otel_tracead.exporting import QueueConfig, RetryConfig
from otel_tracead.service.registry import BUILT_IN, Registry
from otel_tracead.service.telemetry_config import TelemetryConfig
from otel_tracead.tls import ClientTls, ServerTls
from otel_tracead.training.architecture import Architecture
from otel_tracead.training.paper.settings import PaperConfig
from otel_tracead.training.recipe import Recipe
from otel_tracead.training.settings import ModelSection, TrainConfig, TrainingSection

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
_LONGEST: Final = 60
_BLOCK: Final = re.compile(r"(<!-- reference: (?P<name>[^>]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_ATTRIBUTE: Final = re.compile(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", re.MULTILINE)


def rewritten(text: str) -> str:
    """Give *text* with every block as it should be.

    Raises:
        KeyError: a block that nobody knows.
    """
    return _BLOCK.sub(lambda match: f"{match[1]}\n{_block(match['name'])}\n{match[3]}", text)


def names() -> list[str]:
    """Give the names of all blocks that the documents must have."""
    kinds = {kind: {*Registry().names(kind)} if kind is Kind.EXPORTER else {*BUILT_IN[kind]} for kind in Kind}
    components = [f"{kind.singular} {name}" for kind, found in kinds.items() for name in sorted(found)]
    return [*components, *SHARED.values(), "service::telemetry", "train", PAPER, "metrics", "modules"]


def _block(name: str) -> str:
    if name == "metrics":
        return _table(("metric", "kind", "labels", "what"), _metrics())
    if name == "modules":
        return _table(("module", "its one reason"), _modules())
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


def _keys(model: type[BaseModel], path: str = "") -> Iterator[tuple[str, str, str]]:
    meanings = _meanings(model)
    own = [name for name in model.model_fields if name in model.__annotations__]
    for name in dict.fromkeys((*own, *model.model_fields)):
        info = model.model_fields[name]
        key = f"{path}{info.alias or name}"
        section = _section(info.annotation)
        meaning = meanings[name] if info.description is None else info.description
        meaning = f"{meaning[:1].upper()}{meaning[1:]}{_choices(info.annotation, meaning)}"
        shared = SHARED.get(section) if section is not None else None
        if shared is not None:
            meaning += f" See [{shared}](#{shared.replace(' ', '-')})."
        preset = {one.name: one.default for one in fields(PRESET[model])} if model in PRESET else {}
        default = f"`{preset[name]}`" if name in preset and info.default is None else _default(info, section)
        yield f"`{key}`", default, meaning
        if section is not None and shared is None:
            yield from _keys(section, f"{key}::")


def _meanings(model: type[BaseModel]) -> dict[str, str]:
    found: dict[str, str] = {}
    for base in reversed(model.__mro__):
        _, _, attributes = (base.__dict__.get("__doc__") or "").partition("Attributes:\n")
        lines = (re.sub(r"^ {4}", "", line) for line in attributes.splitlines())
        found |= {name: " ".join(text.split()) for name, text in _ATTRIBUTE.findall("\n".join(lines))}
    return found


def _parts(annotation: Any) -> Iterator[Any]:
    """Walk over the alternatives of an annotation, without what is annotated to them."""
    if get_origin(annotation) is Annotated:
        yield from _parts(get_args(annotation)[0])
    elif get_origin(annotation) in (Union, types.UnionType):
        for choice in get_args(annotation):
            yield from _parts(choice)
    elif get_origin(annotation) is tuple:
        yield from _parts(get_args(annotation)[0])
    else:
        yield annotation


def _section(annotation: Any) -> type[BaseModel] | None:
    return next((part for part in _parts(annotation) if isinstance(part, type) and issubclass(part, BaseModel)), None)


def _choices(annotation: Any, said: str) -> str:
    words: list[str] = []
    for part in _parts(annotation):
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
    for metric in telemetry.CATALOGUE:
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


if __name__ == "__main__":
    main()
