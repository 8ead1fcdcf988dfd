"""Every key that the Collector has for a component that is here: taken, taken without effect, or refused with a reason."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from otel_tracead.component import Kind
from otel_tracead.config_types import NotHere, WithoutEffect
from otel_tracead.service.registry import Registry
from otel_tracead.service.telemetry_config import TelemetryConfig
from tools.reference import ROOT, fields

KEYS = yaml.safe_load((Path(__file__).parent / "testdata/collector_keys.yaml").read_text(encoding="utf-8"))


def flat(entries: list[Any], path: str = "") -> list[str]:
    found: list[str] = []
    for entry in entries:
        if isinstance(entry, str):
            found.append(f"{path}{entry}")
        else:
            ((key, group),) = entry.items()
            found += flat(KEYS["groups"][group], path if key == "." else f"{path}{key}::")
    return found


CASES = [
    (kind, name, key)
    for kind in ("receivers", "processors", "exporters", "extensions")
    for name, entries in KEYS[kind].items()
    for key in flat(entries)
] + [("service", "telemetry", key) for key in flat(KEYS["service"]["telemetry"])]


def model(kind: str, name: str) -> type[BaseModel]:
    if kind == "service":
        return TelemetryConfig
    factory = Registry().find(Kind(kind), name)
    assert factory is not None
    return factory.config


@pytest.mark.parametrize(("kind", "name"), sorted({case[:2] for case in CASES}))
def test_every_key_is_known(kind: str, name: str) -> None:
    known = {field.key for field in fields(model(kind, name))}
    refused = {field.key for field in fields(model(kind, name)) if field.mark(NotHere)}
    wanted = {key for one, two, key in CASES if (one, two) == (kind, name)}
    missing = {key for key in wanted if key not in known and not any(key.startswith(f"{part}::") for part in refused)}
    assert missing == set()


@pytest.mark.parametrize("mark", [NotHere, WithoutEffect])
def test_the_page_lists_what_is_refused_and_what_changes_nothing(mark: type) -> None:
    page = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")
    for kind, name in sorted({case[:2] for case in CASES}):
        for field in fields(model(kind, name)):
            if found := field.mark(mark):
                assert found.reason.rstrip(".") in page.replace("\\|", "|"), f"{kind}::{name}::{field.key}"


def test_there_are_many() -> None:
    assert len(CASES) > 300
