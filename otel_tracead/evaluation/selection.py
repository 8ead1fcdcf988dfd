"""Which traces the models learn from and which they are tried on: apart in time, and as many of each length."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from otel_tracead.errors import InputError
from otel_tracead.traces.dictionary import RARE_ID, Dictionary
from otel_tracead.traces.encoding import Events, select
from otel_tracead.traces.windows import EACH, LENGTH, SHORTEST, Windows, choose_by_length, cut, learn_dictionary

Ints = npt.NDArray[np.int64]

FEWEST_TRACES = 100
_TEST = 0.3  # of the traces, the last by time
_LABELS = 400  # with an index of their own; the paper had 105
_FEWEST_OF_A_LABEL = 5
_LENGTHS = LENGTH - SHORTEST + 1


@dataclass(frozen=True, slots=True)
class Material:
    """Traces, divided.

    Attributes:
        training: the earlier traces.
        test: the later ones.
        dictionary: of the training traces' labels.
        whole: whether traces of 4 to 20 events are taken whole, as in the paper; else longer ones are cut to windows.
        words: name and value of what one must know of it.
        warnings: why a result from it is weaker than it looks.
    """

    training: Events
    test: Events
    dictionary: Dictionary
    whole: bool
    words: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]


def divide(events: Events) -> Material:
    """Divide traces by the time of their first event; those with a missing parent are left out, since spans are missing.

    Raises:
        InputError: there are too few traces, or nothing in them can be learned.
    """
    complete = np.flatnonzero((events.orphans == 0) & (np.diff(events.offsets) > 0))
    lengths = np.diff(events.offsets)[complete]
    whole = bool(((lengths >= SHORTEST) & (lengths <= LENGTH)).mean() >= 0.5) if len(lengths) else True
    usable = complete[(lengths >= SHORTEST) & (lengths <= LENGTH) if whole else lengths >= SHORTEST]
    if len(usable) < FEWEST_TRACES:
        raise InputError(
            f"--input: {len(usable)} complete traces of at least {SHORTEST} spans are too few for the experiments (at least "
            f"{FEWEST_TRACES}, better some thousands); give more or longer files of normal traffic"
        )
    used = select(events, usable)
    in_time = np.argsort(used.began, kind="stable")
    border = round(len(in_time) * (1 - _TEST))
    training, test = select(used, np.sort(in_time[:border])), select(used, np.sort(in_time[border:]))
    dictionary = learn_dictionary(training, max_labels=_LABELS, min_count=_FEWEST_OF_A_LABEL)
    taken = (
        f"whole, {SHORTEST} to {LENGTH} spans" if whole else f"cut to windows of {LENGTH} spans, since most are longer"
    )
    words = (
        ("traces", f"{events.traces} read, {len(complete)} complete, {len(usable)} used: {taken}; order by start time"),
        ("training and test", f"the first {training.traces} traces by time, and the last {test.traces}"),
        ("labels", f"{len(dictionary) - RARE_ID - 1}, and {len(dictionary.rare)} rare ones that share one index"),
    )
    return Material(training, test, dictionary, whole, words, _warnings(training, test, dictionary))


def _warnings(training: Events, test: Events, dictionary: Dictionary) -> tuple[str, ...]:
    labels = len(np.unique(training.label))
    times = np.unique(training.duration_us)
    if labels == 1 and len(times) == 1:
        raise InputError(
            "--input: all spans have one label and one response time, so there is nothing to learn; does the label "
            "template name what differs?"
        )
    found = []
    if labels == 1:
        found.append("All spans have one label: nothing can be said of structure.")
    if len(times) == 1:
        found.append(
            "All response times are equal, so that any longer one is found: the figures of response time say nothing."
        )
    zero = float((test.duration_us == 0).mean())
    if zero > 0.2:
        found.append(f"{zero:.0%} of the spans take 0 ms: no response-time anomaly is injected there.")
    index = np.array([dictionary.index(label) == RARE_ID for label in test.labels])
    rare = float(index[test.label].mean())
    if rare > 0.05:
        examples = ", ".join(repr(label) for label in list(dictionary.rare)[:3])
        found.append(
            f"{rare:.0%} of the test spans have a label that training hardly saw (such as {examples}): ids in names? "
            "What is said of structure is weaker for it."
        )
    return tuple(found)


def draw(
    material: Material, random: np.random.Generator, *, training: int = EACH, test: int = EACH
) -> tuple[Windows, Windows]:
    """Draw training and test windows: as many traces of each length, all where there are fewer.

    Of traces that are cut to windows, whole traces are drawn until there are as many windows as that would be.
    """
    return _draw(material, material.training, random, training), _draw(material, material.test, random, test)


def _draw(material: Material, events: Events, random: np.random.Generator, each: int) -> Windows:
    if material.whole:
        chosen = choose_by_length(np.diff(events.offsets), random, each=each)
        return cut(select(events, chosen), material.dictionary)
    windows = -(-np.diff(events.offsets) // LENGTH)
    order = random.permutation(events.traces)
    enough = int(np.searchsorted(np.cumsum(windows[order]), each * _LENGTHS)) + 1
    return cut(select(events, np.sort(order[:enough])), material.dictionary, stride=LENGTH)
