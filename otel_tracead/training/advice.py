"""What a user should know of the traffic that a model was learned from, in words."""

from typing import Final

import numpy as np

from otel_tracead.traces.dictionary import Dictionary
from otel_tracead.traces.encoding import Events
from otel_tracead.traces.labels import worst_explosions

_MANY_RARE: Final = 1000
_RARE_SHARE: Final = 0.01


def advice(events: Events, dictionary: Dictionary, traces: int) -> list[str]:
    """Say what makes a model of *events* weaker than it could be, and what to do about it.

    Args:
        events: those that the model was learned from.
        dictionary: of the model.
        traces: how many were read, used or not.
    """
    warnings = []
    counts = np.bincount(events.label, minlength=len(events.labels))
    used = {label: int(count) for label, count in zip(events.labels, counts.tolist(), strict=True) if count}
    if len(used) == 1:
        warnings.append("All spans have one label, so this traffic is learned by its times alone.")
    elif not np.any(events.parent >= 0):
        warnings.append("No span has a parent, so nothing was learned of calls; times and order alone speak.")
    rare_spans = sum(count for label, count in used.items() if label in dictionary.rare)
    if len(dictionary.rare) > _MANY_RARE or rare_spans > _RARE_SHARE * len(events):
        worst = "; ".join(worst_explosions(used)) or "no common stem"
        warnings.append(
            f"{len(used)} different labels, {len(dictionary.rare)} of them too rare to learn: are there ids in "
            f"span names? Most variants: {worst}. Add a regular expression to labels::patterns."
        )
    if events.traces < 1000:
        warnings.append(f"{events.traces} traces are few for a budget of one in a hundred; thresholds are rough.")
    if events.traces < traces:
        warnings.append(f"{events.traces} of {traces} traces were used, a random part (training::max_spans).")
    return warnings
