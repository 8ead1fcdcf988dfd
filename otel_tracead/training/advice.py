"""What a user should know of the traffic that a model was learned from, in words."""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from otel_tracead.traces.dictionary import Dictionary
from otel_tracead.traces.encoding import Events
from otel_tracead.traces.explosions import Explosion, explosions

_MANY_RARE: Final = 1000
_RARE_SHARE: Final = 0.01
_MANY_VARIANTS: Final = 50
_SOME_VARIANTS: Final = 10
_FEW_TRACES: Final = 1000
_MILLISECOND_US: Final = 1000.0
_MOSTLY: Final = 0.5


def advice(events: Events, dictionary: Dictionary, traces: int) -> list[str]:
    """Say what makes a model of *events* weaker than it could be, and what to do about it.

    Args:
        events: those that the model was learned from.
        dictionary: of the model.
        traces: how many were read, used or not.
    """
    return [*_of_calls(events), *_of_times(events), *_of_labels(events, dictionary), *_of_size(events, traces)]


def _of_calls(events: Events) -> Iterator[str]:
    if len(np.unique(events.label)) == 1:
        yield (
            "All spans have one label, so this traffic is learned by its times alone; if it should have more, put what tells "
            "its spans apart into labels::template."
        )
    elif not np.any(events.parent >= 0):
        yield "No span has a parent, so nothing was learned of calls; times and order alone speak."


def _of_times(events: Events) -> Iterator[str]:
    longest = float(np.max(events.duration_us, initial=0.0))
    if longest <= 0:
        yield "All spans take no time at all, so nothing was learned of times. Look whether they were measured."
        return
    if float(np.min(events.duration_us)) == longest:
        yield (
            f"All spans take the same time, {longest / 1e3:g} ms, so nothing was learned of how much times may vary. Look "
            "whether they were measured."
        )
        return
    whole = not np.any(events.self_us % _MILLISECOND_US) and not np.any(events.duration_us % _MILLISECOND_US)
    nothing = float((events.self_us == 0).mean())
    if whole and nothing > _MOSTLY:
        yield (
            f"Times are whole milliseconds, and {nothing:.0%} of the spans work for less than one: what is slow within a "
            "millisecond is not seen."
        )


def _of_labels(events: Events, dictionary: Dictionary) -> Iterator[str]:
    counts = np.bincount(events.label, minlength=len(events.labels))
    used = [label for label, count in zip(events.labels, counts.tolist(), strict=True) if count]
    rare = [count for label, count in zip(events.labels, counts.tolist(), strict=True) if label in dictionary.rare]
    many = len(rare) > _MANY_RARE or sum(rare) > _RARE_SHARE * len(events)
    worst = explosions(used, events.services, fewest=_SOME_VARIANTS if many else _MANY_VARIANTS)
    if many or worst:
        yield (
            f"{len(used)} different labels, {len(rare)} of them too rare to learn one by one: are there ids in the names of "
            f"spans? {_proposal(worst)}"
        )


def _proposal(worst: Sequence[Explosion]) -> str:
    if not worst:
        return "No two places alike vary most; look at labels.json, and add regular expressions to labels::patterns."
    named = "; ".join(f"{one.shape} ({one.labels} labels, such as {one.examples[0]})" for one in worst)
    patterns = list(dict.fromkeys(pattern for one in worst for pattern in one.patterns))
    if not patterns:
        return (
            f"Most variants: {named}. No pattern reaches these: patterns look at the name of a span only. Give services and "
            "spans names that stay the same, or take the part that varies out of labels::template."
        )
    proposed = ", ".join("'" + pattern.replace("'", "''") + "'" for pattern in patterns)
    return (
        f"Most variants: {named}. Proposed for labels::patterns, to add to the ones listed in report.html (a list in the YAML "
        f"replaces them): {proposed}"
    )


def _of_size(events: Events, read: int) -> Iterator[str]:
    if events.traces < _FEW_TRACES:
        yield f"{events.traces} traces are few for a budget of one in a hundred; thresholds are rough."
    if events.traces < read:
        yield f"{events.traces} of {read} traces were used, a random part (training::max_spans)."
