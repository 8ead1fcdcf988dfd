"""What normal traffic does, as tables: own work of labels, which call follows which, how often calls fail.

Beside each mean stands how much it differs from one minute to another, which is what `rank` measures a window with.
"""

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

COLUMNS: Final = 5
"""How many cases; their mean; the variance of one; the variance of a minute's mean beyond that; minutes."""
STEP_COLUMNS: Final = 3


@dataclass(slots=True)
class TrafficNorms:
    """What is usual, one row a thing. Calls and stems are numbered as `otel_tracead.detection.norms` derives them of the labels.

    Attributes:
        times: of log10(1 + own work in µs), by label; no cases where nothing is known `[labels, 5]`.
        steps: caller's call, call before (-1 = none), call that came (-1 = the end) `[steps, 3]`.
        step_norms: of the share of the callers that go on so `[steps, 5]`.
        failures: of the share of calls that fail on their own, by stem `[stems, 5]`.
    """

    times: Floats = field(default_factory=lambda: np.zeros((0, COLUMNS)))
    steps: Ints = field(default_factory=lambda: np.zeros((0, STEP_COLUMNS), np.int64))
    step_norms: Floats = field(default_factory=lambda: np.zeros((0, COLUMNS)))
    failures: Floats = field(default_factory=lambda: np.zeros((0, COLUMNS)))

    def __len__(self) -> int:
        """Count the labels."""
        return len(self.times)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Give the arrays by the names that they have in `calibration.npz`; none where nothing was learned."""
        if not len(self):
            return {}
        return {
            "norm_times": self.times,
            "norm_steps": self.steps,
            "norm_step_norms": self.step_norms,
            "norm_failures": self.failures,
        }

    def problems(self) -> dict[str, bool]:
        """Say which values could not be used; shapes are right."""
        tables = (self.times, self.step_norms, self.failures)
        return {
            "what is usual is no finite number": not all(np.isfinite(one).all() for one in tables),
            "what is usual has a negative number of cases, variance or minutes": any(
                (one[:, [0, 2, 3, 4]] < 0).any() for one in tables
            ),
            "a usual share is none": any(
                ((one[:, 1] < 0) | (one[:, 1] > 1)).any() for one in (self.step_norms, self.failures)
            ),
            "a step has no caller": bool((self.steps < [0, -1, -1]).any()),
        }
