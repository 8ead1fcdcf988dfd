from pathlib import Path
from typing import Any

import pytest
from service_fakes import MINIMAL, FakeConfig, House, Section

from otel_tracead.component import Kind
from otel_tracead.errors import ConfigError
from otel_tracead.service.config import ServiceConfig, check, decode
from otel_tracead.service.expansion import expand
from otel_tracead.service.ids import Id
from otel_tracead.service.uris import merge


def decoded(tree: dict[str, Any], over: dict[str, Any] | None = None, **variables: str) -> ServiceConfig:
    merged = merge(tree, over or {})
    return decode(expand(merged, lambda _scheme, name: variables[name]), House().registry, Path("/base"))


def problems(over: dict[str, Any], tree: dict[str, Any] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        decoded(MINIMAL if tree is None else tree, over)
    return list(caught.value.problems)


def body(over: dict[str, Any], **variables: str) -> FakeConfig:
    config = decoded(MINIMAL, {"exporters": {"out": over}}, **variables)
    found = config.components[Kind.EXPORTER][Id("out")].config
    assert isinstance(found, FakeConfig)
    return found


def test_a_minimal_configuration_has_defaults() -> None:
    config = decoded(MINIMAL)
    assert body({}) == FakeConfig()
    assert config.pipelines == {
        Id("traces"): {Kind.RECEIVER: (Id("in"),), Kind.PROCESSOR: (), Kind.EXPORTER: (Id("out"),)}
    }
    assert [str(endpoint) for endpoint in config.telemetry.metrics.endpoints] == ["localhost:8888"]
    assert config.warnings == ()


def test_all_problems_come_at_once_with_their_paths() -> None:
    assert problems(
        {
            "conectors": {},
            "connectors": {"spanmetrics/x": None},
            "receivers": {"in": {"szie": 3, "wait": "5"}, "kafkaa/1": None, "in/a b": None},
            "processors": {"step": {"size": "x"}},
            "exporters": {"out": {"section": {"enabled": "yes", "foo": 1, "bar": 2}}},
            "extensions": {"ext": []},
            "service": {
                "telemetri": {},
                "extensions": ["nobody"],
                "pipelines": {
                    "metrics": {"receivers": ["in"]},
                    "traces": {"processors": ["step", "step", "gone"], "exporters": ["none"]},
                    "traces/2": {"receiver": ["in"]},
                },
                "telemetry": {"metrics": {"level": "much"}, "logs": {"encoding": "xml"}},
            },
        }
    ) == [
        (
            "configuration: has invalid keys: conectors"
            " (valid keys: [receivers processors exporters connectors extensions service])"
        ),
        'connectors: unknown type: "spanmetrics" for id: "spanmetrics/x" (valid values: [])',
        'receivers::in::wait: time: missing unit in duration "5"',
        "receivers::in: has invalid keys: szie (did you mean size?)",
        'receivers: unknown type: "kafkaa" for id: "kafkaa/1" (valid values: [in])',
        'receivers: in "in/a b" id: invalid character(s) in name "a b"',
        "processors::step::size: must be a valid integer, not a string",
        "exporters::out::section::enabled: must be a valid boolean, not a string",
        "exporters::out::section: has invalid keys: foo, bar",
        "extensions::ext: must be a map, not a list",
        "service: has invalid keys: telemetri (valid keys: [extensions pipelines telemetry])",
        'service::extensions: references extension "nobody" which is not configured',
        'service::pipelines::traces: references processor "step" multiple times',
        'service::pipelines::traces: references processor "gone" which is not configured',
        'service::pipelines::traces: references exporter "none" which is not configured',
        'service::pipelines::metrics: unknown signal "metrics": pipelines here carry traces only',
        "service::pipelines::traces/2: has invalid keys: receiver (did you mean receivers?)",
        "service::telemetry::metrics::level: must be 'none', 'basic', 'normal' or 'detailed'",
        "service::telemetry::logs::encoding: must be 'console' or 'json'",
    ]


@pytest.mark.parametrize(
    ("tree", "expected"),
    [
        (
            {"service": {}},
            [
                "receivers: no receiver configuration specified in config",
                "exporters: no exporter configuration specified in config",
                "service::pipelines: service must have at least one pipeline",
            ],
        ),
        (
            MINIMAL | {"service": {"pipelines": {"traces": None}}},
            [
                "service::pipelines::traces: must have at least one receiver",
                "service::pipelines::traces: must have at least one exporter",
            ],
        ),
        (MINIMAL | {"processors": [1]}, ["processors: must be a map"]),
        (MINIMAL | {"processors": {"": None, "a-b": None, "step/": None, "/x": None}},
            [
                'processors: in "" id: id must not be empty',
                'processors: in "a-b" id: invalid character(s) in type "a-b"',
                'processors: in "step/" id: the part after / should not be empty',
                'processors: in "/x" id: the part before / should not be empty',
            ]),
        (MINIMAL | {"processors": {"step/x": None, "step / x": None}}, ['processors: duplicate name "step/x" after trimming spaces']),
    ],
)  # fmt: skip
def test_what_is_missing_is_said(tree: dict[str, Any], expected: list[str]) -> None:
    assert problems({}, tree) == expected


def test_defined_but_unused_is_fine_and_validated() -> None:
    config = decoded(MINIMAL, {"processors": {"step/spare": None}})
    assert Id("step", "spare") in config.components[Kind.PROCESSOR]
    assert [str(used.id) for used in config.used()] == ["out", "in"]
    assert problems({"processors": {"step/spare": {"x": 1}}}) == ["processors::step/spare: has invalid keys: x"]


def test_a_deprecated_alias_works_with_a_warning() -> None:
    config = decoded(MINIMAL, {"exporters": {"old": None}})
    assert config.components[Kind.EXPORTER][Id("old")].factory.name == "new"
    assert config.warnings == ('exporters::old: "old" is a deprecated alias of "new"',)


def test_null_means_the_default() -> None:
    assert body({"size": None, "name": None, "names": None}) == FakeConfig()
    assert body({"section": None}).section == Section()
    assert body({}).section is None


def test_a_string_field_gets_the_text_of_its_reference() -> None:
    read = body({"name": "${env:N}", "size": "${env:N}", "names": ["${env:N}"], "token": "${env:N}"}, N="0123")
    assert (read.name, read.size, read.names) == ("0123", 83, ["0123"])
    assert read.token.get_secret_value() == "0123"
    assert body({"name": "${env:N}"}, N="").name == ""
    assert body({"headers": {"a": "${env:N}"}}, N="true").headers["a"].get_secret_value() == "true"


def test_a_reference_may_hold_a_section() -> None:
    assert body({"section": "${env:N}"}, N="{size: 9}").section == Section(size=9)
    config = decoded(MINIMAL | {"receivers": "${env:N}"}, N="in: {size: 9}")
    assert config.components[Kind.RECEIVER][Id("in")].config == FakeConfig(size=9)


def test_a_reference_of_the_wrong_type_is_an_error() -> None:
    with pytest.raises(ConfigError, match="exporters::out::size: must be a valid integer, not a string"):
        body({"size": "${env:N}"}, N="many")


def test_a_secret_is_not_in_the_message() -> None:
    assert "hunter2" not in " ".join(problems({"exporters": {"out": {"token": ["hunter2"], "wait": {"a": "hunter2"}}}}))


def test_used_components_are_asked_for_missing_files() -> None:
    check(decoded(MINIMAL, {"exporters": {"out/unused": {"missing": True}}}))
    with pytest.raises(ConfigError, match=r"^exporters::out: the file is not there$"):
        check(decoded(MINIMAL, {"exporters": {"out": {"missing": True}}}))


def test_telemetry() -> None:
    def endpoints(metrics: dict[str, Any]) -> list[str]:
        config = decoded(MINIMAL, {"service": {"telemetry": {"metrics": metrics}}})
        return [str(endpoint) for endpoint in config.telemetry.metrics.endpoints]

    prometheus = {"pull": {"exporter": {"prometheus": {"host": "0.0.0.0", "port": 1}}}}
    assert endpoints({"level": "none"}) == []
    assert endpoints({"readers": [prometheus]}) == ["0.0.0.0:1"]
    assert endpoints({"readers": []}) == []
    assert endpoints({"address": "localhost:2"}) == ["localhost:2"]
    assert problems({"service": {"telemetry": {"metrics": {"address": ":2", "readers": [prometheus]}}}}) == [
        "service::telemetry::metrics: address (deprecated) and readers must not both be given"
    ]
    assert decoded(MINIMAL, {"service": {"telemetry": {"metrics": {"address": ":2"}}}}).warnings == (
        "service::telemetry::metrics::address is deprecated: use readers",
    )
    assert decoded(MINIMAL, {"service": {"telemetry": {"logs": {"level": "INFO"}}}}).telemetry.logs.level == "info"


def test_a_plugin_that_cannot_be_loaded_is_named() -> None:
    house = House()
    house.registry._built_in = {Kind.PROCESSOR: {"broken": "otel_tracead.nowhere:FACTORY"}}
    with pytest.raises(ConfigError, match="processors::broken/x: cannot be loaded: No module named"):
        decode(MINIMAL | {"processors": {"broken/x": None}}, house.registry, Path())
