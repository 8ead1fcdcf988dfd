"""The YAML of `train --config`."""

from pathlib import Path

import pytest

from otel_tracead.errors import ConfigError
from otel_tracead.training.settings import TrainConfig, load


def written(folder: Path, text: str) -> Path:
    path = folder / "train.yaml"
    path.write_text(text)
    return path


def test_nothing_written_is_the_default(tmp_path) -> None:
    assert load(None) == TrainConfig() == load(written(tmp_path, ""))


def test_every_section_is_read(tmp_path) -> None:
    config = load(
        written(
            tmp_path,
            'labels: {template: "{service} {name}", callee: false, order: start}\nmodel: {name: mine, label_units: 8}\n'
            "training: {seed: 3, folds: 2, device: cpu}\ncalibration: {false_positive_rate: 0.001}\n",
        )
    )
    assert config.template().template == "{service} {name}"
    assert config.order().value == "start"
    assert config.model.label_units == 8
    assert config.calibration.false_positive_rate == 0.001


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("label: {}", "label: "),
        ("training: {batches: 3}", "training::batches: "),
        ("calibration: {false_positive_rate: 2}", "calibration::false_positive_rate: "),
        ('labels: {template: "{servce}"}', "labels::template: "),
        ("labels: {template: plain}", "labels::template: "),
        ('labels: {patterns: ["("]}', "labels::patterns: "),
        ("training: [", "not YAML"),
        ("- 1", "train.yaml: "),
    ],
)
def test_what_cannot_be_used_is_named_with_its_place(tmp_path, text, place) -> None:
    with pytest.raises(ConfigError) as caught:
        load(written(tmp_path, text))
    assert place in str(caught.value)


def test_all_problems_are_reported(tmp_path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(written(tmp_path, "training: {folds: 1, seed: -1}\nmodel: {units: 3}\n"))
    assert len(caught.value.problems) == 3


def test_a_file_that_is_not_there(tmp_path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path / "none.yaml")
