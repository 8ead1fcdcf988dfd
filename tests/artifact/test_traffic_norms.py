from dataclasses import replace

import numpy as np
import pytest

from otel_tracead.artifact import calibration as calibrations
from otel_tracead.artifact.traffic_norms import TrafficNorms
from otel_tracead.errors import ArtifactError


def test_they_are_kept_in_the_artifact(tiny_model):
    again = calibrations.load(tiny_model.calibration.dump(), len(tiny_model.dictionary)).norms
    for name, array in tiny_model.calibration.norms.arrays().items():
        assert np.array_equal(again.arrays()[name], array), name
    assert len(again) == len(tiny_model.dictionary)
    assert len(TrafficNorms()) == 0


@pytest.mark.parametrize(
    ("table", "column", "value", "problem"),
    [
        ("times", 1, np.inf, "no finite number"),
        ("times", 2, -1.0, "negative number of cases"),
        ("step_norms", 1, 1.5, "share is none"),
        ("failures", 4, -1.0, "negative number of cases"),
        ("steps", 0, -1, "no caller"),
    ],
)
def test_values_that_cannot_be_are_refused(table, column, value, problem, tiny_model):
    array = getattr(tiny_model.calibration.norms, table).copy()
    array[0, column] = value
    broken = replace(tiny_model.calibration, norms=replace(tiny_model.calibration.norms, **{table: array}))
    with pytest.raises(ArtifactError, match=problem):
        calibrations.load(broken.dump(), len(tiny_model.dictionary))
