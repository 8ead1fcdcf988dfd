"""What was expected of the response times of slow spans, and the bounds that they crossed: the numbers in their verdicts."""

from typing import Final

import numpy as np
import numpy.typing as npt

from otel_tracead.artifact.calibration import Calibration
from otel_tracead.detection import mixture
from otel_tracead.detection.evidence import SCALE_FLOOR, TIME, Judged, from_scaled, long_time, typical_trace
from otel_tracead.detection.explanation import bound
from otel_tracead.detection.rules import Rules
from otel_tracead.detection.scorer import LONG

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_BELOW: Final = 1.0 - 1e-9


class ResponseTimes:
    """Works out expectations and bounds.

    Args:
        calibration: of the model.
        rules: from when on something counts.
    """

    def __init__(self, calibration: Calibration, rules: Rules) -> None:
        self._calibration = calibration
        self._rules = rules

    def bounds(
        self, judged: Judged, first: Ints, row: Ints, predicted: npt.NDArray[np.float32], crossed: npt.NDArray[np.bool_]
    ) -> list[tuple[float, float]]:
        """Give what was expected of the response times of some spans, and the bounds, both in milliseconds `[n]`.

        Args:
            judged: the batch.
            first: row of the first event of each span's trace `[n]`.
            row: of each span `[n]`.
            predicted: the mixture for each of them `[n, 3 * components]`.
            crossed: whether a span is slow itself; of one that is slow for its place the bound is what was expected `[n]`.
        """
        events, known, calibration = judged.events, judged.known, self._calibration
        label = known.label[row]
        # Told as of today, so with the drift; worked out as in training, so without it.
        own, drifted = known.own_us[row], 10.0 ** known.shift[row]
        raw = events.self_us[row]
        covered = events.duration_us[row] - raw
        expected = np.minimum(from_scaled(mixture.median(predicted), label, calibration), own)
        upper = np.where(crossed, self._upper(predicted, label, known.label[first], expected, own), expected)
        expected, upper = ((1.0 + one) * drifted - 1.0 for one in (expected, upper))
        upper_ms = np.minimum((covered + upper) / 1e3, (covered + raw) / 1e3 * _BELOW)
        expected_ms = np.minimum((covered + expected) / 1e3, upper_ms)
        return list(zip(expected_ms.tolist(), upper_ms.tolist(), strict=True))

    def _upper(
        self, predicted: npt.NDArray[np.float32], label: Ints, first_label: Ints, expected: Floats, own: Floats
    ) -> Floats:
        """Find the own work in µs between what was *expected* and the *own* one from which on a span would be marked."""
        calibration, wanted = self._calibration, self._rules.wanted
        if self._rules.confidence is not None:
            center, scale = calibration.center[label], np.maximum(calibration.scale[label], SCALE_FLOOR)
            rarest = np.exp(-self._rules.longest_nats)

            def strength(own_us: Floats) -> Floats:
                survival = mixture.survival(predicted, (np.log10(1.0 + own_us) - center) / scale)
                return np.where(survival < rarest, wanted, 0.0)
        else:
            long_us = from_scaled(mixture.exceeded_by(predicted.T, LONG), label, calibration)
            typical = typical_trace(first_label, calibration)

            def strength(own_us: Floats) -> Floats:
                found = long_time(own_us, long_us, typical)
                return calibration.decades(found.ravel(), TIME).reshape(found.shape)

        return bound(strength, expected, own, wanted)
