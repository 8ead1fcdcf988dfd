"""The JSON Schema of the configuration, for editors, written from the classes that validate it (docs/config.schema.json).

It knows what a YAML file may hold before anything is expanded: a reference (`${env:X}`) may stand for any value, and a
key without a value is its default. A required key may also come from another file of the same command line; editors
mark it all the same.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from otel_tracead.component import Kind
from otel_tracead.config_types import NotHere, WithoutEffect
from otel_tracead.service.config import SIGNAL, PipelineConfig
from otel_tracead.service.registry import BUILT_IN, Registry
from otel_tracead.service.telemetry_config import TelemetryConfig
from tools.fields import ConfigField, fields

PATH: Final = Path(__file__).parent.parent / "docs/config.schema.json"

Schema = dict[str, Any]

_REFERENCE: Final = {"$ref": "#/$defs/reference"}
_NULL: Final = {"type": "null"}


def text() -> str:
    """Give the file as it should be."""
    return json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"


def schema() -> Schema:
    """Give the whole schema."""
    factories = {
        (kind, name): factory
        for kind in Kind
        for name in (Registry().names(kind) if kind is Kind.EXPORTER else sorted(BUILT_IN[kind]))
        if (factory := Registry().find(kind, name)) is not None
    }
    models = [PipelineConfig, TelemetryConfig, *(factory.config for factory in factories.values())]
    sections = dict.fromkeys(section for model in models for section in _sections(model))
    refs, definitions = models_json_schema([(section, "validation") for section in sections], ref_template="{model}")
    names = {section: refs[section, "validation"]["$ref"] for section in sections}
    defs = {name: {**written, "title": name} for name, written in definitions["$defs"].items()}  # choices of words
    defs |= {names[section]: _section(section, definitions["$defs"][names[section]]) for section in sections}

    def bodies(kind: Kind) -> Schema:
        patterns: Schema = {}
        for (one, name), factory in factories.items():
            if one is kind:
                body = _or_nothing(_ref(names[factory.config]))
                patterns[_id(name)] = body
                patterns |= {_id(alias): {**body, "deprecated": True} for alias in factory.aliases}
        return _or_nothing({"type": "object", "patternProperties": patterns, "additionalProperties": False})

    pipelines = {_id(SIGNAL): _or_nothing(_ref(names[PipelineConfig]))}
    service = {
        "extensions": _or_nothing({"type": "array", "items": {"type": "string"}}),
        "pipelines": {"type": "object", "patternProperties": pipelines, "additionalProperties": False},
        "telemetry": _or_nothing(_ref(names[TelemetryConfig])),
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Configuration of otel-tracead",
        "type": "object",
        "properties": {
            **{kind.value: bodies(kind) for kind in Kind},
            "service": {"type": "object", "properties": service, "additionalProperties": False},
        },
        "additionalProperties": False,
        "$defs": {"reference": {"type": "string", "pattern": r"\$\{[^}]+\}"}, **dict(sorted(defs.items()))},
    }


def _sections(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    yield model
    yield from (field.section for field in fields(model) if field.section is not None)


def _section(model: type[BaseModel], written: Schema) -> Schema:
    """Take what pydantic says of one section, without keys that are not here, and with what its fields mean."""
    properties: Schema = {}
    for field in fields(model):
        if "::" in field.key or field.mark(NotHere):
            continue
        properties[field.key] = _property(field, written["properties"][field.key])
    section: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    required = [key for key in written.get("required", ()) if key in properties]
    return section | ({"required": required} if required else {})


def _property(field: ConfigField, written: Schema) -> Schema:
    described = {"description": field.meaning} | ({"deprecated": True} if field.mark(WithoutEffect) else {})
    value = _value({key: part for key, part in written.items() if key not in {"title", "default", "description"}})
    return _or_nothing(value) | described


def _value(written: Schema) -> Schema:
    """Let a reference stand for a value, wherever it is not a text of any kind anyway."""
    if "$ref" in written:
        return {"anyOf": [_ref(written["$ref"]), _REFERENCE]}
    if "anyOf" in written:
        choices = [_value(choice) for choice in written["anyOf"]]
        return {"anyOf": list({json.dumps(choice): choice for choice in _flat(choices)}.values())}
    value = {key: part for key, part in written.items() if key not in {"title", "minItems", "maxItems"}}
    for key in ("items", "additionalProperties"):
        if isinstance(value.get(key), dict):
            value[key] = _value(value[key])
    if value in ({"type": "string"}, {"type": "null"}, {}):
        return value
    return {"anyOf": [value, _REFERENCE]}


def _flat(choices: list[Schema]) -> Iterator[Schema]:
    for choice in choices:
        yield from choice["anyOf"] if choice.keys() == {"anyOf"} else [choice]


def _or_nothing(value: Schema) -> Schema:
    if value == {}:
        return value
    choices = value["anyOf"] if value.keys() == {"anyOf"} else [value]
    return {"anyOf": [*(choice for choice in choices if choice != _NULL), _NULL]}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def _id(kind: str) -> str:
    return f"^\\s*{kind}\\s*(/.+)?$"
