import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from service_fakes import House

from otel_tracead.component import Factory, Kind
from otel_tracead.service import embedded, registry
from otel_tracead.service.config import decode
from otel_tracead.service.ids import Id
from otel_tracead.service.registry import BUILT_IN, Registry
from otel_tracead.service.uris import Sources


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, names in BUILT_IN.items() for name in names])
def test_every_built_in_type_is_there_under_its_name(kind: Kind, name: str) -> None:
    factory = Registry().find(kind, name)
    assert isinstance(factory, Factory)
    assert (factory.kind, factory.name) == (kind, name)


def test_exporters_are_found_by_their_entry_points() -> None:
    found = Registry()
    assert {"debug", "file", "otlp_grpc", "otlp_http", "zipkin"} <= set(found.names(Kind.EXPORTER))
    for name in ("debug", "file", "otlp_grpc", "otlp_http", "zipkin"):
        factory = found.find(Kind.EXPORTER, name)
        assert factory is not None
        assert factory.name == name


@pytest.mark.parametrize(("alias", "name"), [("otlp", "otlp_grpc"), ("otlphttp", "otlp_http")])
def test_deprecated_aliases_are_found(alias: str, name: str) -> None:
    factory = Registry().find(Kind.EXPORTER, alias)
    assert factory is not None
    assert factory.name == name


def test_what_is_nowhere_is_none() -> None:
    assert Registry().find(Kind.RECEIVER, "kafkaesque") is None


def test_a_broken_plugin_does_not_hide_the_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "faulty_plugin.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(tmp_path)
    entries = [
        EntryPoint("broken", "otel_tracead.nowhere:FACTORY", registry.EXPORTER_GROUP),
        EntryPoint("faulty", "faulty_plugin:FACTORY", registry.EXPORTER_GROUP),
        EntryPoint("liar", "otel_tracead.receivers.zipkin:FACTORY", registry.EXPORTER_GROUP),
        EntryPoint("otlp_grpc", "otel_tracead_exporters.otlp_grpc:FACTORY", registry.EXPORTER_GROUP),
    ]
    monkeypatch.setattr(registry, "entry_points", lambda group: entries)
    found = Registry()
    assert found.names(Kind.EXPORTER) == ["broken", "faulty", "liar", "otlp_grpc"]
    assert found.find(Kind.EXPORTER, "otlp") is found.find(Kind.EXPORTER, "otlp_grpc")
    with pytest.raises(ImportError, match="No module named"):
        found.find(Kind.EXPORTER, "broken")
    with pytest.raises(ImportError, match="ZeroDivisionError: division by zero"):
        found.find(Kind.EXPORTER, "faulty")
    with pytest.raises(ImportError, match="is no factory of exporters"):
        found.find(Kind.EXPORTER, "liar")


def test_given_factories_win() -> None:
    mine = House().factory(Kind.RECEIVER, "otlp")
    assert Registry([mine]).find(Kind.RECEIVER, "otlp") is mine


def test_only_what_is_named_is_imported() -> None:
    program = (
        "import sys; from otel_tracead.service.registry import Registry; from otel_tracead.component import Kind; "
        "Registry().find(Kind.EXTENSION, 'health_check'); Registry().names(Kind.EXPORTER); "
        "heavy = {'grpc', 'onnxruntime', 'numpy', 'otel_tracead.receivers.otlp'} & set(sys.modules); sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_embedded_default_has_no_problems() -> None:
    config = decode(Sources([f"yaml:{embedded.YAML}"], variables={}).load(pytest.fail), Registry(), Path())
    assert config.warnings == ()
    assert [str(used.id) for used in config.used()] == ["debug", "file", "tracead", "otlp", "zipkin"]
    receivers = config.components[Kind.RECEIVER]
    assert str(receivers[Id("zipkin")].config.endpoint) == "localhost:9411"  # type: ignore[attr-defined]
