"""Who sent what and what came of it: arrays in files that the sender, the sink and whoever judges them map at once.

A byte or two a span, whatever happens; files survive whoever writes them.
"""

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.endurance.numbered import Shape

LATE: Final = 1
"""A copy of the span came after its trace's verdict."""
PLAIN: Final = 2
"""A copy came with its trace, not marked."""
MARKED: Final = 4
"""A copy came with its trace, marked as anomalous."""

SPANS, REQUESTS, FOREIGN = range(3)
"""What the sink counts: copies of spans, requests, and spans that nobody sent."""

_ARRAYS: Final = {
    # by request: the sender's
    "sent": ("requests", np.float64),  # when it was first sent, on the monotonic clock; 0 = never
    "answered": ("requests", np.float64),  # when it was accepted; 0 = it was not
    "refused": ("requests", np.uint8),  # how often its sender was told to come back
    "unanswered": ("requests", np.uint8),  # how often it may have arrived without an answer
    "giant": ("rounds", np.uint8),  # whether the round had a giant trace
    # by span and by trace: the sink's
    "copies": ("spans", np.uint8),
    "seen": ("spans", np.uint8),  # LATE | PLAIN | MARKED
    "verdicts": ("traces", np.uint8),  # how often a verdict came
    "verdict": ("traces", np.uint32),  # checksum of the first one: of its span and of what was appended
    "differing": ("traces", np.uint8),  # how often another one came
    "judged": ("traces", np.float64),  # when the first one came
    "again": ("traces", np.float64),  # when a further copy of any of its spans came, the last time; 0 = never
    "totals": ("three", np.int64),
    "last": ("one", np.float64),  # when anything came
}


@dataclass(frozen=True, slots=True)
class Size:
    """What a ledger has room for.

    Attributes:
        shape: of a round.
        rounds: how many.
    """

    shape: Shape
    rounds: int

    def of(self, unit: str) -> int:
        """How many there are of a unit."""
        fixed = {"rounds": self.rounds, "three": 3, "one": 1}
        return fixed[unit] if unit in fixed else int(getattr(self.shape, unit)) * self.rounds


class Ledger:
    """The arrays, by name (see `_ARRAYS`).

    Attributes:
        size: what there is room for.
    """

    sent: NDArray[np.float64]
    answered: NDArray[np.float64]
    refused: NDArray[np.uint8]
    unanswered: NDArray[np.uint8]
    giant: NDArray[np.uint8]
    copies: NDArray[np.uint8]
    seen: NDArray[np.uint8]
    verdicts: NDArray[np.uint8]
    verdict: NDArray[np.uint32]
    differing: NDArray[np.uint8]
    judged: NDArray[np.float64]
    again: NDArray[np.float64]
    totals: NDArray[np.int64]
    last: NDArray[np.float64]

    def __init__(self, folder: Path, size: Size, mode: Any) -> None:
        self.size = size
        for name, (unit, kind) in _ARRAYS.items():
            setattr(self, name, np.memmap(folder / f"{name}.array", dtype=kind, mode=mode, shape=(size.of(unit),)))

    @classmethod
    def create(cls, folder: Path, size: Size) -> "Ledger":
        """Make the files; they take room on disk as they are written to."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "size.json").write_text(json.dumps(asdict(size)))
        return cls(folder, size, "w+")

    @classmethod
    def open(cls, folder: Path) -> "Ledger":
        """Map what `create` made."""
        found = json.loads((folder / "size.json").read_text())
        return cls(folder, Size(Shape(**found["shape"]), found["rounds"]), "r+")

    def accepted(self, span_ends: NDArray[np.int64]) -> int:
        """How many spans were acknowledged so far."""
        counts = np.diff(span_ends, prepend=0)
        return int((self.answered.reshape(self.size.rounds, -1) > 0).sum(axis=0) @ counts)

    def out(self) -> int:
        """How many copies of spans came out so far."""
        return int(self.totals[SPANS])

    def silent(self) -> float:
        """Seconds since anything came out."""
        return time.monotonic() - float(self.last[0])
