"""Reads the heads of many encoded spans at once, without a Python object a span.

All spans are walked in lockstep: each step looks at the next field of every span. That pays because encoders write
fields in the order of their numbers. A span of another layout, or with a longer field than is usual, is left to a parser.
Source: opentelemetry-proto, trace/v1/trace.proto; protobuf's wire format.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from otel_tracead.wire.span_bytes import SpanBytes, mask, mixed

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


_TRACE_ID, _TWO_BYTES = _number(b"\x0a\x10"), _number(b"\xff\xff")
_SPAN_ID, _THIRD_AND_FOURTH = _number(b"\0\0\x12\x08"), _number(b"\0\0\xff\xff")
_PARENT_ID: Final = _number(b"\x22\x08")
_8, _16, _32, _48, _56 = map(_constant, (8, 16, 32, 48, 56))
_BYTE: Final = _constant(0xFF)
_UNNAMED: Final = _constant(0)

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
    naming = data.hashed(_UNNAMED, at, size)
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
    state = data.byte[at] == _TRACE_STATE
    length = data.byte[at + 1].astype(np.int64)
    at = np.minimum(np.where(state, at + 2 + length, at), data.last)
    parent = data.byte[at] == _PARENT
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
        for begin, ones in self._begins:
            found |= (behind & ones) == begin
        return found

    def mix(self, data: SpanBytes, naming: Words, rows: Ints, body: Ints, size: Ints) -> None:
        """Mix those attributes, of *size* bytes from *body* on, that are wanted into the *naming* of their *rows*."""
        length, first = data.byte[body + 1], data.word(body + 2)
        match = np.zeros(len(rows), np.bool_)
        for key in self._keys:
            same = (length == len(key)) & (first & mask(min(len(key), 8)) == _number(key[:8]))
            if len(key) > 8:
                same &= data.word(np.minimum(body + len(key) - 6, data.last)) == _number(key[-8:])
            match |= same
        found = np.flatnonzero(match)
        if len(found):
            naming[rows[found]] = data.hashed(naming[rows[found]], body[found], size[found])


def _begin(key: bytes) -> tuple[Words, Words]:
    """Give what a `KeyValue` begins with, and the mask of it: tag and length of the key, up to four of its bytes."""
    begin = bytes((_KEY, len(key))) + key[:4]
    return _number(begin), mask(len(begin))


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
