"""The bytes of many spans in one piece, read and hashed at many places at once."""

import secrets
from collections.abc import Sequence
from functools import cached_property
from itertools import chain
from struct import pack
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from otel_tracead.wire.joined import Joined

Ints = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]

_WORDS: Final = 8  # read at once, at most
_BLOCK: Final = 8 * _WORDS
_PADDING: Final = bytes(_BLOCK)  # so that looking ahead of the last span stays inside
_SEVERAL: Final = [np.dtype(f"V{8 * words}") for words in range(_WORDS + 1)]
# What is left of a block of n bytes: ones over them, zeros behind; a column for each n.
_MASKS: Final = np.ascontiguousarray(
    np.frombuffer(b"".join(bytes([255] * n + [0] * (_BLOCK - n)) for n in range(_BLOCK + 1)), "<u8")
    .reshape(-1, _WORDS)
    .T
)
# Nobody outside can make two namings meet in one hash.
_FIRST, _SECOND = ((np.frombuffer(secrets.token_bytes(_BLOCK), "<u8") | np.uint64(1)).reshape(-1, 1) for _ in range(2))
# Arrays, which numpy takes faster than numbers of Python.
_MIX, _HALF = np.array(0x9E3779B97F4A7C15, np.uint64), np.array(32, np.uint64)


def mask(size: int) -> Words:
    """Give a word with ones over its first *size* bytes, up to eight, little end first."""
    return np.array(_MASKS[0, size])


def mixed(state: Words, value: Words) -> Words:
    """Mix 64 more bits into each hash."""
    product = (state ^ value) * _MIX
    return product ^ (product >> _HALF)


class SpanBytes:
    """The joined bytes of many spans, to be read at many places at once.

    Args:
        lists: of encoded spans, each joined; together `n`.

    Attributes:
        byte: each byte `[bytes]`, with zeros behind the last.
        begins: the place of each span `[n]`.
        ends: the place behind it `[n]`.
        last: the place behind all.
    """

    def __init__(self, lists: Sequence[Joined]) -> None:
        self._joined = b"".join([*(one.content for one in lists), _PADDING])
        self.byte = np.frombuffer(self._joined, np.uint8)
        lengths = list(chain.from_iterable([one.lengths for one in lists]))
        # By struct, in half the time that numpy takes to read a list of numbers.
        edges = np.add.accumulate(np.frombuffer(pack(f"{len(lengths) + 1}q", 0, *lengths), np.int64))
        self.begins, self.ends = edges[:-1], edges[1:]
        self.last = len(self._joined) - len(_PADDING)

    def __len__(self) -> int:
        """Count the spans."""
        return len(self.ends)

    def span(self, index: int) -> bytes:
        """Give one span."""
        return self._joined[self.begins[index] : self.ends[index]]

    def words(self, at: Ints, count: int) -> Words:
        """Read up to eight words of eight bytes at each place, little end first: a row for each word."""
        return self._windows(_SEVERAL[count])[at].view("<u8").reshape(-1, count).T

    def word(self, at: Ints) -> Words:
        """Read eight bytes at each place, little end first."""
        return self._word[at]

    @cached_property
    def _word(self) -> Words:
        return self._windows(np.dtype("<u8"))

    def hashed(self, state: Words, at: Ints, length: Ints) -> Words:
        """Mix *length* bytes from *at* on into each hash: 64 bytes at a time, as a sum over their words."""
        state = mixed(state, length.view(np.uint64))
        longest = int(length.max(initial=0))
        if not longest:
            return state
        state = mixed(state, self._sums(at, np.minimum(length, _BLOCK), min(longest, _BLOCK)))
        for done in range(_BLOCK, longest, _BLOCK):
            rest = (length > done).nonzero()[0]
            here, left = np.minimum(at[rest] + done, self.last), np.minimum(length[rest] - done, _BLOCK)
            state[rest] = mixed(state[rest], self._sums(here, left, min(longest - done, _BLOCK)))
        return state

    def _sums(self, at: Ints, length: Ints, longest: int) -> Words:
        """Sum up the words of blocks of bytes, each word multiplied with secrets."""
        words = -(-longest // 8)
        block = np.empty((words, len(at)), np.uint64)
        np.bitwise_and(self.words(at, words), _MASKS[:words].take(length, axis=1), out=block)
        block *= _FIRST[:words]
        block ^= block >> _HALF
        block *= _SECOND[:words]
        return np.asarray(np.add.reduce(block, axis=0))

    def _windows(self, kind: np.dtype[Any]) -> npt.NDArray[Any]:
        """Give what stands at each place as one *kind*."""
        return np.ndarray((len(self._joined) - kind.itemsize + 1,), kind, self._joined, strides=(1,))
