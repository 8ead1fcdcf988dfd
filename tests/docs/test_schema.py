"""The JSON Schema that editors check a configuration with: as the source would write it, and right about real files."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from otel_tracead.component import Kind
from otel_tracead.service.embedded import YAML
from otel_tracead.service.registry import Registry
from tests.service.test_collector_configurations import FILES, expected
from tests.source_tree import ROOT
from tools import schema

SCHEMA = json.loads(schema.PATH.read_text(encoding="utf-8"))
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
OF_COLLECTORS = ("collector", "load-balancing")
EXAMPLES = sorted(
    path
    for path in (ROOT / "examples").glob("*.yaml")
    if "pipelines:" in path.read_text(encoding="utf-8") and not any(word in path.name for word in OF_COLLECTORS)
)

MINIMAL: dict[str, Any] = {
    "receivers": {"otlp": {"protocols": {"grpc": None}}},
    "exporters": {"debug": None},
    "service": {"pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["debug"]}}},
}


def wrong(tree: Any) -> list[str]:
    return [error.message for error in VALIDATOR.iter_errors(tree)]


def changed(path: str, value: Any) -> Any:
    tree = json.loads(json.dumps(MINIMAL))
    *steps, last = path.split("::")
    place = tree
    for step in steps:
        if place.get(step) is None:
            place[step] = {}
        place = place[step]
    place[last] = value
    return tree


def test_it_is_as_the_source_would_write_it() -> None:
    assert schema.PATH.read_text(encoding="utf-8") == schema.text(), "run: python -m tools.reference"
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_every_component_and_alias_is_in_it() -> None:
    for kind in Kind:
        patterns = SCHEMA["properties"][kind.value]["anyOf"][0]["patternProperties"]
        assert len(patterns) >= len(Registry().names(kind))
    assert wrong(changed("exporters::otlphttp/old", {"endpoint": "http://a:1"})) == []


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_examples_are_right(path: Path) -> None:
    assert wrong(yaml.safe_load(path.read_text(encoding="utf-8"))) == []


def test_the_embedded_configuration_is_right() -> None:
    assert wrong(yaml.safe_load(YAML)) == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_it_agrees_with_what_the_service_says(path: Path) -> None:
    unresolved = [problem for problem in expected(path, "problems") if "failed to resolve" in problem]
    assert bool(wrong(yaml.safe_load(path.read_text(encoding="utf-8")))) == bool(
        len(expected(path, "problems")) - len(unresolved)
    )


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("receivers::otlp::protocols::grpc::endpoint", "localhost"),
        ("receivers::otlp::protocols::grpc::endpont", "localhost:1"),
        ("receivers::otlp::protocols::http::middlewares", [{"id": "x"}]),
        ("receivers::jaeger", None),
        ("exporters::otlp_grpc", {}),
        ("exporters::otlp_grpc/2", {"endpoint": "a:1", "timeout": 5}),
        ("exporters::otlp_grpc/2", {"endpoint": "a:1", "sending_queue": {"batch": {"sizer": "requests"}}}),
        ("exporters::debug::sampling_initial", "2"),
        ("exporters::debug::verbosity", "loud"),
        ("processors::tracead::annotate", "some"),
        ("processors::tracead::detection::top_k", "three"),
        ("connectors", {}),
        ("service::pipelines::metrics", {"receivers": ["otlp"], "exporters": ["debug"]}),
        ("service::telemetry::metrics::level", "much"),
    ],
)
def test_what_is_wrong_is_marked(path: str, value: Any) -> None:
    assert wrong(MINIMAL) == []
    assert wrong(changed(path, value)) != []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("receivers::otlp::protocols::grpc::endpoint", "${env:HOST}:4317"),
        ("receivers::otlp::protocols::grpc::max_recv_msg_size_mib", "${env:MIB:-4}"),
        ("receivers::otlp::protocols::http", {"cors": {"allowed_origins": "https://a,https://b"}, "tls": None}),
        ("exporters::debug::verbosity", "Detailed"),
        (
            "exporters::otlp_http/a b",
            {"endpoint": "http://a:1", "headers": [{"name": "a", "value": "b"}], "timeout": 0},
        ),
        (
            "exporters::otlp_grpc",
            {"endpoint": "a:1", "timeout": "1m30s", "retry_on_failure": None, "tls": "${env:TLS}"},
        ),
        ("processors::tracead::detection", {"top_k": 3, "confidence": None}),
        ("service::pipelines::traces/second", {"receivers": ["otlp"], "exporters": ["debug"]}),
        ("service::telemetry::resource", {"service.name": "a"}),
    ],
)
def test_what_is_right_is_not(path: str, value: Any) -> None:
    assert wrong(changed(path, value)) == []
