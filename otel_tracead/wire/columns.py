"""Reads the heads of many encoded spans at once, without a Python object a span.

All spans are walked in lockstep: each step looks at the next field of every span. That pays because encoders write
fields in the order of their numbers. A span of another layout, or with a longer field than is usual, is left to a parser.
Source: opentelemetry-proto, trace/v1/trace.proto; protobuf's wire format.
"""

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from otel_tracead.wire.joined import Joined

Ints = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]
Bools = npt.NDArray[np.bool_]

_PADDING: Final = bytes(64)  # so that looking ahead of the last span stays inside
_IDS: Final = 28  # bytes of the trace id's and the span id's fields
_LONG: Final = 0x80  # lengths from it on take a second byte
_LAST_FIELDS: Final = 64  # more attributes, events and links than this go to the parser
_MIX: Final = np.uint64(0x9E3779B97F4A7C15)
_FINISH: Final = np.uint64(32)

_TRACE_STATE, _PARENT, _NAME, _KIND, _START, _END = 0x1A, 0x22, 0x2A, 0x30, 0x39, 0x41
_ATTRIBUTE, _STATUS = 0x4A, 0x7A
_LENGTHS: Final = np.zeros(256, np.bool_)
_LENGTHS[[_ATTRIBUTE, 0x5A, 0x6A, _STATUS]] = True  # attributes, events, links, status
_COUNTS: Final = np.zeros(256, np.bool_)
_COUNTS[[0x50, 0x60, 0x70]] = True  # the dropped counts
_FLAGS: Final = 0x85
_KEY: Final = 0x0A  # the tag of KeyValue.key
_SHORT_FIELDS: Final = np.uint64(0xFF80FF)  # tag, whether the length takes one byte, first tag inside
_SHORT_ATTRIBUTE: Final = np.uint64(_KEY << 16 | _ATTRIBUTE)
_WORDS: Final = 8  # read at once, at most
_BLOCK: Final = 8 * _WORDS
# What is left of a block of n bytes: ones over them, zeros behind.
_MASKS: Final = np.frombuffer(
    b"".join(bytes([255] * n + [0] * (_BLOCK - n)) for n in range(_BLOCK + 1)), "<u8"
).reshape(-1, _WORDS)
# Nobody outside can make two namings meet in one hash.
_FIRST, _SECOND = (np.frombuffer(secrets.token_bytes(_BLOCK), "<u8") | np.uint64(1) for _ in range(2))


@dataclass(slots=True)
class Columns:
    """Heads of spans; where `read` is false nothing else means anything.

    Attributes:
        read: whether the span had the usual layout `[n]`.
        span_id: uint64 `[n]`.
        parent_id: uint64 `[n]`, 0 = none.
        start: uint64 ns `[n]`.
        end: uint64 ns `[n]`.
        kind: `[n]`.
        naming: a hash of the name, the kind, the status code and the wanted attributes `[n]`.
    """

    read: Bools
    span_id: Words
    parent_id: Words
    start: Words
    end: Words
    kind: Ints
    naming: Words


def mixed(state: Words, value: Words | np.uint64) -> Words:
    """Mix 64 more bits into each hash."""
    product = (state ^ value) * _MIX
    return product ^ (product >> _FINISH)


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
        self._joined = b"".join((*(one.content for one in lists), _PADDING))
        self.byte = np.frombuffer(self._joined, np.uint8)
        lengths = list(chain.from_iterable([one.lengths for one in lists]))
        self.ends = np.cumsum(np.array(lengths, np.int64))
        self.begins = np.concatenate(([0], self.ends))[: len(lengths)]
        self.last = len(self._joined) - len(_PADDING)
        self._word = self._windows("<u8")

    def __len__(self) -> int:
        """Count the spans."""
        return len(self.ends)

    def span(self, index: int) -> bytes:
        """Give one span."""
        return self._joined[self.begins[index] : self.ends[index]]

    def word(self, at: Ints) -> Words:
        """Read eight bytes at each place, little end first."""
        return self._word[at]

    def pair(self, at: Ints) -> Ints:
        """Read two bytes at each place, little end first."""
        return self.byte[at] | (self.byte[at + 1].astype(np.int64) << 8)

    def hashed(self, state: Words, at: Ints, length: Ints) -> Words:
        """Mix *length* bytes from *at* on into each hash: 64 bytes at a time, as a sum over their words."""
        state = mixed(state, length.astype(np.uint64))
        longest = int(length.max(initial=0))
        for done in range(0, longest, _BLOCK):
            rest = np.flatnonzero(length > done) if done else slice(None)
            words = min(-(-(longest - done) // 8), _WORDS)
            block = (
                self._windows(f"V{8 * words}")[np.minimum(at[rest] + done, self.last)].view("<u8").reshape(-1, words)
            )
            block &= _MASKS.take(np.minimum(length[rest] - done, _BLOCK), axis=0)[:, :words]
            block *= _FIRST[:words]
            block ^= block >> _FINISH
            state[rest] = mixed(state[rest], block @ _SECOND[:words])
        return state

    def _windows(self, kind: str) -> npt.NDArray[Any]:
        """Give what stands at each place as one number, or so many bytes."""
        size = np.dtype(kind).itemsize
        return np.ndarray((len(self._joined) - size + 1,), kind, self._joined, strides=(1,))


def read_columns(data: SpanBytes, wanted: Iterable[bytes]) -> Columns:
    """Read the heads of spans.

    Args:
        data: encoded `Span`s that are valid protobuf.
        wanted: keys of the attributes that belong to a span's naming.
    """
    n, begins, ends = len(data), data.begins, data.ends
    # Parents, names and times stand where the fields before them end.
    read = (ends - begins >= _IDS) & (data.pair(begins) == 0x100A) & (data.pair(begins + 18) == 0x0812)
    span_id = data.word(begins + 20).byteswap()
    at = np.where(read, begins + _IDS, data.last)
    tag = data.byte[at]
    state = tag == _TRACE_STATE
    if state.any():
        length = data.byte[at + 1].astype(np.int64)
        read &= ~state | (length < _LONG)
        at = np.minimum(np.where(state, at + 2 + length, at), data.last)
        tag = data.byte[at]
    parent = tag == _PARENT
    read &= ~parent | (data.byte[at + 1] == 8)
    parent_id = np.where(parent, data.word(at + 2).byteswap(), np.uint64(0))
    at = np.minimum(at + 10 * parent, data.last)
    named = data.byte[at] == _NAME
    length = np.where(named, data.byte[at + 1], 0).astype(np.int64)
    read &= length < _LONG
    length = np.where(read, length, 0)
    naming = data.hashed(np.zeros(n, np.uint64), at + 2, length)
    at = np.minimum(at + named * (2 + length), data.last)
    has_kind = data.byte[at] == _KIND
    kind = np.where(has_kind, data.byte[at + 1], 0).astype(np.int64)
    read &= kind < _LONG
    at = np.minimum(at + 2 * has_kind, data.last)
    started = data.byte[at] == _START
    start = np.where(started, data.word(at + 1), np.uint64(0))
    at = np.minimum(at + 9 * started, data.last)
    ended = data.byte[at] == _END
    end = np.where(ended, data.word(at + 1), np.uint64(0))
    at = np.minimum(at + 9 * ended, data.last)
    naming, status = _rest(data, at, ends, read, naming, wanted)
    naming = mixed(mixed(naming, kind.astype(np.uint64)), status)
    return Columns(read, span_id, parent_id, start, end, kind, naming)


class _Wanted:
    """The attributes that belong to a naming, known by the lengths of their keys and their first and last eight bytes."""

    def __init__(self, keys: Iterable[bytes]) -> None:
        chosen = sorted(keys)
        # Keys that long have lengths of two bytes: they are for the parser.
        self._keys = [key for key in chosen if len(key) < _LONG]
        self.some_are_long = len(self._keys) < len(chosen)
        self._begins = [_begin(key) for key in self._keys]

    def __bool__(self) -> bool:
        return bool(self._keys)

    def likely(self, word: Words) -> Bools:
        """Say where a short attribute's first eight bytes may be those of a wanted one."""
        behind = word >> np.uint64(16)
        found = np.zeros(len(word), np.bool_)
        for begin, mask in self._begins:
            found |= (behind & mask) == begin
        return found

    def mix(self, data: SpanBytes, naming: Words, rows: Ints, body: Ints, size: Ints) -> None:
        """Mix those attributes, of *size* bytes from *body* on, that are wanted into the *naming* of their *rows*."""
        length, first = data.byte[body + 1], data.word(body + 2)
        match = np.zeros(len(rows), np.bool_)
        for key in self._keys:
            same = (length == len(key)) & (first & _MASKS[min(len(key), 8), 0] == _number(key[:8]))
            if len(key) > 8:
                same &= data.word(np.minimum(body + len(key) - 6, data.last)) == _number(key[-8:])
            match |= same
        found = np.flatnonzero(match)
        if len(found):
            naming[rows[found]] = data.hashed(naming[rows[found]], body[found], size[found])


def _begin(key: bytes) -> tuple[np.uint64, np.uint64]:
    """Give what a `KeyValue` begins with, and the mask of it: tag and length of the key, up to four of its bytes."""
    begin = bytes((_KEY, len(key))) + key[:4]
    return _number(begin), _MASKS[len(begin), 0]


def _number(begin: bytes) -> np.uint64:
    return np.uint64(int.from_bytes(begin, "little"))


def _rest(
    data: SpanBytes, at: Ints, ends: Ints, read: Bools, naming: Words, wanted: Iterable[bytes]
) -> tuple[Words, Words]:
    """Walk over what comes after the times; give the namings with the wanted attributes mixed in, and the status codes.

    Spans with a field that is not usual are struck from *read*.
    """
    keys = _Wanted(wanted)
    status = np.zeros(len(at), np.uint64)
    going = np.flatnonzero(read & (at != ends))
    here, end = at[going], ends[going]
    for _ in range(_LAST_FIELDS):
        if not len(going):
            break
        word = data.word(here)
        # Nearly all are attributes of less than 128 bytes that begin with their key: one word says all of them.
        usual = (word & _SHORT_FIELDS) == _SHORT_ATTRIBUTE
        after = here + 2 + ((word >> np.uint64(8)) & np.uint64(0x7F)).view(np.int64)
        if keys:
            found = np.flatnonzero(keys.likely(word) & usual)
            if len(found):
                body = here[found] + 2
                keys.mix(data, naming, going[found], body, after[found] - body)
        others = np.flatnonzero(~usual)
        if len(others):
            after[others], usual[others] = _other_fields(data, going[others], here[others], keys, naming, status)
        over = ~usual | (after >= end)
        if over.any():
            read[going] &= usual & (after <= end)
            left = np.flatnonzero(~over)
            going, here, end = going[left], after[left], end[left]
        else:
            here = after
    read[going] = False
    return naming, status


def _other_fields(
    data: SpanBytes, rows: Ints, here: Ints, keys: _Wanted, naming: Words, status: Words
) -> tuple[Ints, Bools]:
    """Read fields of any usual kind; give the places behind them, and which are usual.

    Mixes long attributes into *naming* and writes *status*, of *rows* each.
    """
    tag = data.byte[here]
    size = data.byte[here + 1].astype(np.int64)
    second = data.byte[here + 2].astype(np.int64)
    long = size >= _LONG
    body = here + 2 + long
    size = np.where(long, (size & 0x7F) | (second << 7), size)
    delimited = _LENGTHS[tag] & (~long | (second < _LONG))
    counted = _COUNTS[tag] & ~long
    flags = (tag == _FLAGS) & (data.byte[here + 1] == 1)
    after = np.where(delimited, body + size, here + np.where(counted, 2, 6))
    usual = (delimited | counted | flags) & (after <= data.last)
    attributes = np.flatnonzero(usual & (tag == _ATTRIBUTE))
    if len(attributes):
        # A KeyValue begins with its key; another beginning is for the parser.
        odd = data.byte[body[attributes]] != _KEY
        if keys.some_are_long:
            odd |= data.byte[body[attributes] + 1] >= _LONG
        usual[attributes[odd]] = False
        keys.mix(data, naming, rows[attributes], body[attributes], size[attributes])
    ended = np.flatnonzero(usual & (tag == _STATUS))
    if len(ended):
        code, clear = _status_code(data, body[ended], size[ended])
        status[rows[ended]] = code
        usual[ended[~clear]] = False
    return after, usual


def _status_code(data: SpanBytes, body: Ints, size: Ints) -> tuple[Words, Bools]:
    """Read a Status: empty, a code, or a message and a code; say where it is neither."""
    last = np.maximum(body + size - 2, 0)
    alone = (size == 2) & (data.byte[body] == 0x18)
    message = (size >= 4) & (data.byte[body] == 0x12) & (data.byte[body + 1] == size - 4) & (data.byte[last] == 0x18)
    code = np.where(alone | message, data.byte[last + 1], 0).astype(np.uint64)
    return code, (size == 0) | ((alone | message) & (code < _LONG))
