"""Remembers the traces in which no call was new: the same calls come all day, and are recognised without a look at each."""

import secrets
from typing import Final

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Words = npt.NDArray[np.uint64]

_LONGEST: Final = 1024  # events of a trace that is remembered
_REMEMBERED: Final = 1 << 14  # traces; a later one takes the place of another
_SALTS: Final = _LONGEST + 2
# Nobody outside can make two traces meet in one hash.
_SALT: Final = np.frombuffer(secrets.token_bytes(8 * (_SALTS + 2)), "<u8") | np.uint64(1)
_PLACE, _LABEL, _CALLER = _SALT[:_SALTS], _SALT[-2], _SALT[-1]
_SPREAD: Final = np.uint64(0x9E3779B97F4A7C15)
_FINISH: Final = np.uint64(32)
_SLOT: Final = np.uint64(_REMEMBERED - 1)
_NONE: Final = np.uint64(0)


class UsualTraces:
    """A memory of traces by their keys. Not thread-safe."""

    def __init__(self) -> None:
        self._known = np.zeros(_REMEMBERED, np.uint64)
        self._known[0] = 1  # no key that belongs there

    def known(self, keys: Words) -> Bools:
        """Say which traces are remembered, by their keys `[traces]`."""
        return np.asarray(self._known.take(_slot(keys)) == keys)

    def remember(self, keys: Words) -> None:
        """Remember traces by their keys `[traces]`."""
        keys = keys[keys != _NONE]
        self._known[_slot(keys)] = keys


def _slot(keys: Words) -> Ints:
    return (keys & _SLOT).astype(np.int64)


def keys(label: Ints, parent: Ints, trace: Ints, offsets: Ints) -> Words:
    """Hash what each trace's events are called and who calls them `[traces]`; 0 = too long, or empty, to be remembered.

    Args:
        label: dictionary index of each event `[m]`.
        parent: row of each event's parent, -1 = none `[m]`.
        trace: of each event `[m]`.
        offsets: first event of each trace `[traces + 1]`.
    """
    begins, lengths = offsets[:-1], offsets[1:] - offsets[:-1]
    if not lengths.all():
        return np.zeros(len(lengths), np.uint64)
    before = (begins - 2).take(trace)  # so that callers count from 2, and 1 is none
    words = label.astype(np.uint64)
    words *= _LABEL
    words += np.maximum(parent - before, 1).astype(np.uint64) * _CALLER
    words *= _PLACE.take(np.arange(len(label)) - before, mode="clip")
    found: Words = np.add.reduceat(words, begins)
    found *= _SPREAD
    found ^= found >> _FINISH
    long = lengths > _LONGEST
    if long.any():
        found[long] = _NONE
    return found
