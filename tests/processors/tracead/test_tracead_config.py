from pathlib import Path

import pytest

from otel_tracead.component import Kind, Settings
from otel_tracead.detection.annotate import Mode
from otel_tracead.detection.detector import DetectionSettings
from otel_tracead.errors import ArtifactError, ConfigError
from otel_tracead.processors import tracead
from otel_tracead.processors.tracead import FACTORY
from otel_tracead.processors.tracead.config import TraceadConfig
from otel_tracead.processors.tracead.model import find_model, load
from otel_tracead.processors.tracead.processor import TraceadProcessor
from otel_tracead.service.problems import validate
from otel_tracead.traces.release import ReleasePolicy

OF_THE_CONTRACT = {
    "model": "model_artifacts/shop",
    "require_report_card": True,
    "execution_provider": "auto",
    "wait_duration": "10s",
    "wait_after_root": "0s",
    "shutdown_timeout": "25s",
    "num_traces": 50000,
    "max_spans_per_trace": 10000,
    "decision_cache": 100000,
    "detection": {"false_positive_rate": 0.01, "top_k": None, "confidence": None},
    "annotate": "anomalous",
    "unknown_labels": 0.2,
    "record": None,
    "sampling": {"normal_percentage": 100},
    "storage": None,
}


def decode(body: object) -> TraceadConfig:
    return validate(TraceadConfig, body, ("processors", "tracead"))


def test_the_defaults_are_those_of_the_contract():
    assert decode(None) == decode({}) == decode(OF_THE_CONTRACT) == decode({"detection": None, "sampling": None})
    assert set(TraceadConfig.model_fields) == set(OF_THE_CONTRACT)


def test_every_key_can_be_set():
    config = decode(
        {
            "model": "mine",
            "require_report_card": False,
            "execution_provider": "cpu",
            "wait_duration": "500ms",
            "wait_after_root": "1m",
            "shutdown_timeout": "1s",
            "num_traces": 7,
            "max_spans_per_trace": 8,
            "decision_cache": 9,
            "detection": {"false_positive_rate": 0.1, "top_k": 3, "confidence": 0.95},
            "annotate": "all",
            "unknown_labels": 1,
            "record": "traffic",
            "sampling": {"normal_percentage": 12.5},
        }
    )
    assert config.release_policy == ReleasePolicy(
        wait_duration=0.5, wait_after_root=60.0, num_traces=7, max_spans_per_trace=8, decision_cache=9
    )
    assert config.annotate is Mode.ALL
    assert (config.detection.top_k, config.detection.confidence) == (3, 0.95)
    assert config.record == Path("traffic")


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({"wait": "1s"}, "processors::tracead"),
        ({"wait_duration": "0s"}, "processors::tracead::wait_duration"),
        ({"wait_duration": 10}, "processors::tracead::wait_duration"),
        ({"wait_after_root": "-1s"}, "processors::tracead::wait_after_root"),
        ({"num_traces": 0}, "processors::tracead::num_traces"),
        ({"num_traces": "many"}, "processors::tracead::num_traces"),
        ({"max_spans_per_trace": 0}, "processors::tracead::max_spans_per_trace"),
        ({"decision_cache": 0}, "processors::tracead::decision_cache"),
        ({"detection": {"false_positive_rate": 0}}, "processors::tracead::detection::false_positive_rate"),
        ({"detection": {"false_positive_rate": 1}}, "processors::tracead::detection::false_positive_rate"),
        ({"detection": {"top_k": 0}}, "processors::tracead::detection::top_k"),
        ({"detection": {"confidence": 1.0}}, "processors::tracead::detection::confidence"),
        ({"detection": {"threshold": 1}}, "processors::tracead::detection"),
        ({"annotate": "some"}, "processors::tracead::annotate"),
        ({"unknown_labels": 1.1}, "processors::tracead::unknown_labels"),
        ({"sampling": {"normal_percentage": 101}}, "processors::tracead::sampling::normal_percentage"),
        ({"execution_provider": "tpu"}, "processors::tracead::execution_provider"),
        ({"model": 5}, "processors::tracead::model"),
        ({"require_report_card": "yes"}, "processors::tracead::require_report_card"),
    ],
)
def test_what_cannot_be_is_refused_with_its_place(body, place):
    with pytest.raises(ConfigError) as refused:
        decode(body)
    (problem,) = refused.value.problems
    assert problem.startswith(f"{place}: ") or (problem.startswith(f"{place}:") and "::" in problem)


def test_every_problem_is_reported():
    with pytest.raises(ConfigError) as refused:
        decode({"num_traces": 0, "annotate": "some", "detection": {"top_k": 0, "confidence": 2}})
    assert len(refused.value.problems) == 4


def test_a_model_is_looked_for_beside_the_yaml_file_first(tmp_path):
    (tmp_path / "mine").mkdir()
    assert find_model(Path("mine"), tmp_path) == tmp_path / "mine"
    assert find_model(tmp_path / "mine", Path("/nowhere")) == tmp_path / "mine"
    with pytest.raises(ArtifactError, match=f"{tmp_path}/other.*train"):
        find_model(Path("other"), tmp_path)


def test_a_model_of_the_package_is_found_from_everywhere(tmp_path, monkeypatch):
    package = tmp_path / "site-packages" / "otel_tracead"
    monkeypatch.setattr("otel_tracead.__file__", str(package / "__init__.py"))
    checkout = tmp_path / "site-packages" / "model_artifacts" / "shop"
    checkout.mkdir(parents=True)
    assert find_model(Path("model_artifacts/shop"), tmp_path) == checkout
    wheel = package / "model_artifacts" / "shop"
    wheel.mkdir(parents=True)
    assert find_model(Path("model_artifacts/shop"), tmp_path) == wheel


def settings(base: Path) -> Settings:
    return Settings(id="tracead", kind=Kind.PROCESSOR, base=base)


def test_validate_reports_a_missing_model_and_a_record_that_is_no_folder(tmp_path):
    (tmp_path / "file").touch()
    config = decode({"model": "nothing", "record": "file"})
    model, record = FACTORY.check(config, settings(tmp_path))
    assert model.startswith("model: ")
    assert str(tmp_path / "nothing") in model
    assert record == f"record: {tmp_path / 'file'} is not a folder"


@pytest.mark.parametrize(
    ("error", "problem"),
    [(ArtifactError("checksum"), "model: checksum"), (RuntimeError("no CUDA"), "execution_provider: no CUDA")],
)
def test_validate_reports_a_model_that_is_refused(tmp_path, monkeypatch, error, problem):
    def load(config, base):
        raise error

    monkeypatch.setattr(tracead, "load", load)
    assert FACTORY.check(decode({"record": "new"}), settings(tmp_path)) == [problem]


def test_a_good_configuration_has_no_problems(tmp_path, monkeypatch):
    monkeypatch.setattr(tracead, "load", lambda *_: object())
    assert FACTORY.check(decode({"record": "new"}), settings(tmp_path)) == []


def test_the_detector_gets_what_the_user_wrote(tmp_path, monkeypatch):
    called = {}
    monkeypatch.setattr(
        "otel_tracead.detection.detector.load_detector", lambda path, **kw: called.update(kw, path=path)
    )
    (tmp_path / "mine").mkdir()
    detection = {"false_positive_rate": 0.1, "top_k": 3, "confidence": 0.9}
    body = {"model": "mine", "detection": detection, "unknown_labels": 0.5, "require_report_card": False}
    load(decode(body | {"execution_provider": "cpu"}), tmp_path)
    assert called == {
        "path": tmp_path / "mine",
        "settings": DetectionSettings(false_positive_rate=0.1, unknown_labels=0.5, top_k=3, confidence=0.9),
        "execution_provider": "cpu",
        "require_report_card": False,
    }


def test_the_factory_builds_a_processor_between_two_others(tmp_path):
    assert isinstance(FACTORY.build(decode({}), settings(tmp_path), object()), TraceadProcessor)
    with pytest.raises(TypeError):
        FACTORY.build(decode({}), settings(tmp_path), None)
