"""The numbers beside the network: scaling, tails, grammar; as plain arrays in `calibration.npz`."""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from otel_tracead.artifact.arrays import Arrays, pack, tail_problems
from otel_tracead.artifact.call_paths import PAIR_COLUMNS, PLACE_COLUMNS, TOTALS, CallPaths
from otel_tracead.artifact.place_norms import PlaceNorms
from otel_tracead.artifact.tails import Tails
from otel_tracead.artifact.traffic_norms import COLUMNS, STEP_COLUMNS, TrafficNorms
from otel_tracead.errors import ArtifactError

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

CHANNELS: Final = ("label", "step", "time", "place")
"""Kinds of evidence: the network's surprise at a label, a new step, a long own work, a place that is slow for everybody."""

SHARES: Final = (0.05, 1.0, 0.7, 0.3)
"""How much of the budget for false positives each channel may use, by what it finds: measured, see docs/method.md."""

_SHARES: Final = np.log10(SHARES)
_FARTHEST_BACK: Final = 64


@dataclass(slots=True)
class Calibration:
    """What was measured on normal traffic that the network was not fitted to.

    Attributes:
        center: median of log10(1 + own work in µs) of each label `[labels]`, and
        scale: its spread (robust standard deviation) `[labels]`, and
        usual: a low quantile of it, to see drift by (`otel_tracead.detection.drift`); inf where it is unknown `[labels]`.
        typical_us: typical duration of a trace by its first label `[labels]`; index 0 for any other.
        time_tails: of the network's time surprise, one row a label.
        channel_tails: of the strongest evidence of a trace, one row a channel.
        trace_tail: of the strongest evidence of a trace over all channels; what the budget is held with.
        order: see `Grammar`, and
        seen: likewise, and
        contexts: likewise, and
        counts: likewise, and
        transitions: likewise.
        places: what is usual at the places that a trace comes to.
        paths: the call trees.
        norms: what `rank` compares a window with.
        center_us: the own work that `center` stands for, in µs `[labels]`.
    """

    center: Floats
    scale: Floats
    usual: Floats
    typical_us: Floats
    time_tails: Tails
    channel_tails: Tails
    trace_tail: Tails
    order: Ints
    seen: npt.NDArray[np.uint64]
    contexts: npt.NDArray[np.uint64]
    counts: Ints
    transitions: Ints
    places: PlaceNorms
    paths: CallPaths = field(default_factory=CallPaths)
    norms: TrafficNorms = field(default_factory=TrafficNorms)
    center_us: Floats = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Work out what is asked for with every batch."""
        self.center_us = 10.0**self.center - 1.0

    def decades(self, x: Floats, channel: int) -> Floats:
        """Give how strong evidence of a *channel* is, in decades `[n]`.

        It is -log10 of the share of normal traces with as much, less what the channel's share of the budget costs it.
        """
        return np.asarray(np.maximum(self.channel_tails.strength(x, channel) + _SHARES[channel], 0.0))

    def all_decades(self, x: Floats) -> Floats:
        """Give the same for evidence of every channel `[channels, n]`."""
        channel = np.arange(len(CHANNELS)).repeat(x.shape[1])
        strength = self.channel_tails.strength(x.reshape(-1), channel).reshape(x.shape)
        strength += _SHARES[:, None]
        return np.asarray(np.maximum(strength, 0.0))

    def dump(self) -> bytes:
        """Encode as `.npz`, the same bytes for the same numbers."""
        return pack(
            {
                "center": self.center,
                "scale": self.scale,
                "usual": self.usual,
                "typical_us": self.typical_us,
                "time_knots": self.time_tails.knots,
                "time_slope": self.time_tails.slope,
                "channel_knots": self.channel_tails.knots,
                "channel_slope": self.channel_tails.slope,
                "trace_knots": self.trace_tail.knots,
                "trace_slope": self.trace_tail.slope,
                "order": self.order,
                "seen": self.seen,
                "contexts": self.contexts,
                "counts": self.counts,
                "transitions": self.transitions,
                **self.places.arrays(),
                "path_places": self.paths.places,
                "path_pairs": self.paths.pairs,
                "path_totals": self.paths.totals,
                **self.norms.arrays(),
            }
        )


def load(content: bytes, labels: int) -> Calibration:
    """Decode `calibration.npz` for a dictionary of *labels* labels; nothing in it is executed.

    Raises:
        ArtifactError: a missing array, a wrong type, shape or value, or more bytes than an artifact may have.
    """
    arrays = Arrays(content)
    take, tails = arrays.take, arrays.tails
    transitions = take("transitions", None, 4, kind="i")
    contexts = take("contexts", None, kind="u")
    loaded = Calibration(
        center=take("center", labels),
        scale=take("scale", labels),
        usual=take("usual", labels),
        typical_us=take("typical_us", labels),
        time_tails=tails("time", labels),
        channel_tails=tails("channel", len(CHANNELS)),
        trace_tail=tails("trace", 1),
        order=take("order", labels + 1, kind="i"),
        seen=take("seen", None, kind="u"),
        contexts=contexts,
        counts=take("counts", len(contexts), kind="i"),
        transitions=transitions,
        places=PlaceNorms(
            take("place_of_label", labels, kind="i"),
            take("place_mean", None),
            take("place_spread", arrays.rows("place_mean")),
            take("place_day", arrays.rows("place_mean")),
        ),
        paths=CallPaths(
            take("path_places", None, PLACE_COLUMNS, kind="i"),
            take("path_pairs", None, PAIR_COLUMNS, kind="i"),
            take("path_totals", TOTALS, kind="i"),
        ),
        norms=TrafficNorms(
            take("norm_times", labels, COLUMNS),
            take("norm_steps", None, STEP_COLUMNS, kind="i"),
            take("norm_step_norms", arrays.rows("norm_steps"), COLUMNS),
            take("norm_failures", None, COLUMNS),
        ),
    )
    problems = _problems(loaded, labels) | loaded.places.problems() | loaded.paths.problems(labels)
    problems |= loaded.norms.problems()
    for problem, found in problems.items():
        if found:
            raise ArtifactError(f"calibration.npz: {problem}")
    return loaded


def _problems(loaded: Calibration, labels: int) -> dict[str, bool]:
    """Say what is wrong with the values: what would fail, or say nonsense, only once there is traffic."""
    tails = (loaded.time_tails, loaded.channel_tails, loaded.trace_tail)
    caller, before, came, count = loaded.transitions.T
    return {
        "a label's typical time is no finite number": not np.isfinite((loaded.center, loaded.typical_us)).all(),
        "a label's spread is no positive number": not (np.isfinite(loaded.scale) & (loaded.scale > 0)).all(),
        "a label's usual time is no number from 0 on": not (loaded.usual >= 0).all(),
        **tail_problems(tails),
        "a caller looks back at no calls, or at too many": bool(
            ((loaded.order < 1) | (loaded.order > _FARTHEST_BACK)).any()
        ),
        "hashes of steps are not sorted": bool(
            (loaded.seen[1:] < loaded.seen[:-1]).any() or (loaded.contexts[1:] < loaded.contexts[:-1]).any()
        ),
        "a count is negative": bool((loaded.counts < 0).any() or (count < 0).any()),
        "a transition speaks of a label that is not in the dictionary": bool(
            (loaded.transitions[:, :3] >= labels).any()
            or (caller < -3).any()
            or (before < -2).any()
            or (came < 0).any()
        ),
    }
