"""The dictionary of labels: which label has which index, and what becomes of those that have none.

Index 0 is `!0`, which starts and ends every sequence (the paper pads with it). Index 1 is the class of labels that
training saw too rarely to learn one by one, and of labels that it never saw.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from otel_tracead.traces.labels import stem

END: Final = "!0"
RARE: Final = "!rare"
END_ID: Final = 0
RARE_ID: Final = 1

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_KNOWN, _KNOWN_STEM = 1, 2
_MOST_CODES: Final = 50_000  # labels come from outside


class Dictionary:
    """Labels and their indices; immutable.

    Args:
        labels: the labels by index; the first two are `!0` and `!rare`.
        rare: labels that training saw, but too rarely for an index of their own.

    Raises:
        ValueError: the labels do not start with `!0` and `!rare`, or repeat.
    """

    def __init__(self, labels: Sequence[str], rare: Iterable[str] = ()) -> None:
        if tuple(labels[:2]) != (END, RARE):
            raise ValueError(f"a dictionary starts with {END!r} and {RARE!r}, not with {list(labels[:2])!r}")
        self.labels = tuple(labels)
        self.rare = frozenset(rare)
        if len(set(self.labels)) != len(self.labels):
            raise ValueError("a dictionary holds each label once")
        # A span that happens to be named like one of the first two is none of them.
        self._ids = {label: index for index, label in enumerate(self.labels) if index > RARE_ID}
        self._stems = {stem(label) for label in (*self._ids, *self.rare)}
        self._codes: dict[str, int] = {}

    def __len__(self) -> int:
        """Count the indices, `!0` and `!rare` included."""
        return len(self.labels)

    def index(self, label: str) -> int:
        """Give the index of *label*; `RARE_ID` for one that has none."""
        return self._ids.get(label, RARE_ID)

    def look_up(self, labels: Sequence[str]) -> tuple[Ints, Bools, Bools]:
        """Give `index`, `knows` and `knows_stem` of each of *labels* `[n]`; those met before cost no string work."""
        if len(self._codes) > _MOST_CODES:
            self._codes.clear()
        try:
            codes = np.array([self._codes[label] for label in labels], np.int64)
        except KeyError:
            self._codes |= {one: self._code(one) for one in labels}
            codes = np.array([self._codes[label] for label in labels], np.int64)
        return codes >> 2, (codes & _KNOWN) > 0, (codes & _KNOWN_STEM) > 0

    def _code(self, label: str) -> int:
        return self.index(label) << 2 | _KNOWN * self.knows(label) | _KNOWN_STEM * self.knows_stem(label)

    def knows(self, label: str) -> bool:
        """Say whether training saw exactly this label."""
        return label in self._ids or label in self.rare

    def knows_stem(self, label: str) -> bool:
        """Say whether training saw this label, or the same span with another status or callee: traffic that is ours."""
        return stem(label) in self._stems


def learn(counts: Mapping[str, int], *, max_labels: int, min_count: int) -> Dictionary:
    """Make the dictionary of the most frequent labels (the paper's M most frequent, or those above a count).

    Args:
        counts: how often each label came.
        max_labels: at most this many get an index of their own.
        min_count: a label that came less often gets none.
    """
    ranked = sorted(counts, key=lambda label: (-counts[label], label))
    frequent = [label for label in ranked if counts[label] >= min_count and label not in (END, RARE)][:max_labels]
    chosen = set(frequent)
    return Dictionary([END, RARE, *frequent], [label for label in ranked if label not in chosen])
