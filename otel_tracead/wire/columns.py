"""Reads the heads of many encoded spans at once, without a Python object a span.

All spans are walked in lockstep: each step looks at the next field of every span. That pays because encoders write
fields in the order of their numbers. A span of another layout, or with a longer field than is usual, is left to a parser.
Source: opentelemetry-proto, trace/v1/trace.proto; protobuf's wire format.
"""

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from struct import pack
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from otel_tracead.wire.joined import Joined

Ints = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]
Bools = npt.NDArray[np.bool_]

_IDS: Final = 28  # bytes of the trace id's and the span id's fields
_LONG: Final = 0x80  # lengths from it on take a second byte
_LAST_FIELDS: Final = 64  # more attributes, events and links than this go to the parser


def _number(begin: bytes) -> Words:
    """Give bytes as a number, little end first: as an array, which numpy takes faster than a number of Python."""
    return np.array(int.from_bytes(begin, "little"), np.uint64)


def _constant(value: int) -> Words:
    return np.array(value, np.uint64)


_MIX: Final = _constant(0x9E3779B97F4A7C15)
_TRACE_ID, _TWO_BYTES = _number(b"\x0a\x10"), _number(b"\xff\xff")
_SPAN_ID, _THIRD_AND_FOURTH = _number(b"\0\0\x12\x08"), _number(b"\0\0\xff\xff")
_PARENT_ID: Final = _number(b"\x22\x08")
_8, _16, _32, _48, _56 = map(_constant, (8, 16, 32, 48, 56))
_BYTE: Final = _constant(0xFF)

_TRACE_STATE, _PARENT, _START, _END = map(_constant, (0x1A, 0x22, 0x39, 0x41))
_NAME, _KIND = 0x2A, 0x30
_ATTRIBUTE, _STATUS = 0x4A, 0x7A
_LENGTHS: Final = np.zeros(256, np.bool_)
_LENGTHS[[_ATTRIBUTE, 0x5A, 0x6A, _STATUS]] = True  # attributes, events, links, status
_COUNTS: Final = np.zeros(256, np.bool_)
_COUNTS[[0x50, 0x60, 0x70]] = True  # the dropped counts
_FLAGS: Final = 0x85
_KEY: Final = 0x0A  # the tag of KeyValue.key
_SHORT_FIELDS: Final = _constant(0xFF80FF)  # tag, whether the length takes one byte, first tag inside
_SHORT_ATTRIBUTE: Final = _constant(_KEY << 16 | _ATTRIBUTE)
_SHORT_LENGTH: Final = _constant(_LONG - 1)
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


def mixed(state: Words, value: Words) -> Words:
    """Mix 64 more bits into each hash."""
    product = (state ^ value) * _MIX
    return product ^ (product >> _32)


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
        block ^= block >> _32
        block *= _SECOND[:words]
        return np.asarray(np.add.reduce(block, axis=0))

    def _windows(self, kind: np.dtype[Any]) -> npt.NDArray[Any]:
        """Give what stands at each place as one *kind*."""
        return np.ndarray((len(self._joined) - kind.itemsize + 1,), kind, self._joined, strides=(1,))


def read_columns(data: SpanBytes, wanted: "WantedAttributes") -> Columns:
    """Read the heads of spans.

    Args:
        data: encoded `Span`s that are valid protobuf.
        wanted: the attributes that belong to a span's naming.
    """
    begins, ends, last = data.begins, data.ends, data.last
    # The ids, which nearly all begin with, are read as five words; what is behind them stands where the field before ends.
    first, _, third, fourth, fifth = data.words(begins, 5)
    read = (first & _TWO_BYTES == _TRACE_ID) & (third & _THIRD_AND_FOURTH == _SPAN_ID) & (ends - begins >= _IDS)
    span_id = (third >> _32 | fourth << _32).byteswap()
    behind = fourth >> _32
    parent, tag = behind & _TWO_BYTES == _PARENT_ID, behind & _BYTE
    parent_id = (fourth >> _48 | fifth << _16).byteswap() * parent
    at = np.minimum(begins + (_IDS + 10 * parent), last)
    odd = ((tag == _PARENT) ^ parent) | (tag == _TRACE_STATE)
    if np.count_nonzero(odd):
        rows = odd.nonzero()[0]
        at[rows], parent_id[rows], read[rows] = _behind_trace_state(data, begins[rows] + _IDS, read[rows])
    at *= read
    named = data.byte[at] == _NAME
    length = data.byte[at + 1]
    read &= ~named | (length < _LONG)
    size = (2 + length.astype(np.int64)) * (named & read)
    after = np.minimum(at + size, last)
    has_kind = data.byte[after] == _KIND
    kind = data.byte[after + 1] * has_kind
    read &= kind < _LONG
    size += 2 * has_kind
    naming = data.hashed(_constant(0), at, size)
    at = np.minimum(at + size, last)
    # Start and end are looked for together, and the end in the start's place where there is no start.
    first, second, third = data.words(at, 3)
    started = first & _BYTE == _START
    alone = first >> _8 | second << _56
    ended = np.where(started, second >> _8, first) & _BYTE == _END
    end = np.where(started, second >> _16 | third << _48, alone) * ended
    at = np.minimum(at + 9 * (started.view(np.int8) + ended), last)
    naming = _rest(data, at, read, naming, wanted)
    return Columns(read, span_id, parent_id, alone * started, end, kind, naming)


def _behind_trace_state(data: SpanBytes, at: Ints, read: Bools) -> tuple[Ints, Words, Bools]:
    """Look for the parent behind a trace state; give the place behind, the parent, and whether all is as usual."""
    at = np.where(read, at, data.last)
    state = data.byte[at] == 0x1A
    length = data.byte[at + 1].astype(np.int64)
    at = np.minimum(np.where(state, at + 2 + length, at), data.last)
    parent = data.byte[at] == 0x22
    read = read & (~state | (length < _LONG)) & (~parent | (data.byte[at + 1] == 8))
    return np.minimum(at + 10 * parent, data.last), data.word(at + 2).byteswap() * parent, read


class WantedAttributes:
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
        behind = word >> _16
        found = np.zeros(len(word), np.bool_)
        for begin, mask in self._begins:
            found |= (behind & mask) == begin
        return found

    def mix(self, data: SpanBytes, naming: Words, rows: Ints, body: Ints, size: Ints) -> None:
        """Mix those attributes, of *size* bytes from *body* on, that are wanted into the *naming* of their *rows*."""
        length, first = data.byte[body + 1], data.word(body + 2)
        match = np.zeros(len(rows), np.bool_)
        for key in self._keys:
            same = (length == len(key)) & (first & _MASKS[0, min(len(key), 8)] == _number(key[:8]))
            if len(key) > 8:
                same &= data.word(np.minimum(body + len(key) - 6, data.last)) == _number(key[-8:])
            match |= same
        found = np.flatnonzero(match)
        if len(found):
            naming[rows[found]] = data.hashed(naming[rows[found]], body[found], size[found])


def _begin(key: bytes) -> tuple[Words, Words]:
    """Give what a `KeyValue` begins with, and the mask of it: tag and length of the key, up to four of its bytes."""
    begin = bytes((_KEY, len(key))) + key[:4]
    return _number(begin), np.array(_MASKS[0, len(begin)])


def _rest(data: SpanBytes, at: Ints, read: Bools, naming: Words, keys: WantedAttributes) -> Words:
    """Walk over what comes after the times; give the namings with the wanted attributes and the status code mixed in.

    Spans with a field that is not usual are struck from *read*.
    """
    going = (read & (at != data.ends)).nonzero()[0]
    if not len(going):
        return naming
    status = np.zeros(len(at), np.uint64)
    here, end = at[going], data.ends[going]
    for _ in range(_LAST_FIELDS):
        if not len(going):
            break
        word = data.word(here)
        # Nearly all are attributes of less than 128 bytes that begin with their key: one word says all of them.
        usual = (word & _SHORT_FIELDS) == _SHORT_ATTRIBUTE
        after = here + 2 + ((word >> _8) & _SHORT_LENGTH).view(np.int64)
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
    told = status.nonzero()[0]
    naming[told] = mixed(naming[told], status[told])
    return naming


def _other_fields(
    data: SpanBytes, rows: Ints, here: Ints, keys: WantedAttributes, naming: Words, status: Words
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
