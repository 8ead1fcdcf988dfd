"""The YAML of `train --preset paper --config`."""

import pytest

from otel_tracead.errors import ConfigError
from otel_tracead.training.paper.settings import PaperConfig
from otel_tracead.training.settings import load_as


def loaded(tmp_path, text: str) -> PaperConfig:
    path = tmp_path / "paper.yaml"
    path.write_text(text)
    return load_as(path, PaperConfig)


def test_the_defaults_are_the_papers(tmp_path):
    config = loaded(tmp_path, "")
    assert config == load_as(None, PaperConfig)
    assert (config.model.length, config.model.join) == (20, "second")
    training, calibration = config.training, config.calibration
    assert (training.batch, training.learning_rate, training.epochs) == (512, 0.001, 400)
    assert (training.traces_per_length, training.shortest) == (1000, 4)
    assert (calibration.top_k, calibration.confidence) == (3, 0.95)
    assert config.order().value == "start"
    assert config.template().template == "{status} {name} {resource.host.ip|service}"


def test_what_is_written_is_taken(tmp_path):
    config = loaded(
        tmp_path,
        "labels: {template: '{name}', max_labels: 7}\nmodel: {units: 8, join: heads, length: 9}\n"
        "training: {epochs: 2, traces_per_length: 5}\ncalibration: {top_k: 1, confidence: 0.99}\n",
    )
    assert (config.labels.max_labels, config.model.units, config.model.join, config.model.length) == (7, 8, "heads", 9)
    assert (config.calibration.top_k, config.labels.order) == (1, "start")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("model: {join: third}", "model::join"),
        ("model: {label_units: 3}", "model::label_units"),
        ("model: {length: 1}", "model::length"),
        ("training: {folds: 3}", "training::folds"),
        ("calibration: {confidence: 1.0}", "calibration::confidence"),
        ("calibration: {top_k: 0}", "calibration::top_k"),
        ('labels: {template: "{resource.host.ip|srvice}"}', "labels::template"),
    ],
)
def test_keys_of_the_other_preset_and_nonsense_are_named(tmp_path, text, place):
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, text)
    assert place in str(caught.value)
