"""Reads of encoded spans just what a label and a sequence need, as columns."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from opentelemetry.proto.common.v1.common_pb2 import KeyValue

from otel_tracead.wire._shallow import SpanHead
from otel_tracead.wire.otlp import text

_ID_BYTES: Final = 8
_NO_ID: Final = bytes(_ID_BYTES)
_LATEST: Final = np.uint64(1 << 62)
_MEMO: Final = 50_000
_LONG: Final = 1024  # bytes of a naming or attribute from which on it is not remembered: memory is bounded
_SHORT: Final = 128  # lengths below it take one byte
_KEY: Final = b"\x0a"  # the tag of KeyValue.key
_VALUE: Final = b"\x12"  # the tag of KeyValue.value
_SERVER_KINDS: Final = (2, 5)  # SPAN_KIND_SERVER, SPAN_KIND_CONSUMER

_Naming = tuple[Hashable, bytes, int, int, tuple[tuple[str, str], ...]]


@dataclass(slots=True)
class Heads:
    """Columns of spans, in their order.

    Attributes:
        span_id: uint64 `[n]`.
        parent_id: uint64 `[n]`, 0 = none (an id of a wrong length is none).
        start: ns since the epoch `[n]`, cut at 2**62.
        end: likewise.
        server: kind is SERVER or CONSUMER `[n]`.
        code: what the `codes` callback gave for the span's name and envelope `[n]`.
    """

    span_id: npt.NDArray[np.uint64]
    parent_id: npt.NDArray[np.uint64]
    start: npt.NDArray[np.int64]
    end: npt.NDArray[np.int64]
    server: npt.NDArray[np.bool_]
    code: npt.NDArray[np.int64]


class HeadReader:
    """Reads heads and turns each span's naming into a code, asking *name* once for each different naming.

    Args:
        attribute_keys: the span attributes that a naming depends on; all others are skipped unread.
        name: called with (group, name, kind, status code, wanted attributes) and gives a code.
    """

    def __init__(
        self,
        attribute_keys: Iterable[str],
        name: Callable[[Hashable, str, int, int, dict[str, str]], int],
    ) -> None:
        wanted = [key.encode() for key in sorted(attribute_keys)]
        self._wanted = frozenset(wanted)
        # How a KeyValue with such a key begins: with the key's length, as every encoder writes it, or with its value.
        begins = {_KEY + _length(key)[:1] for key in wanted} | {_VALUE + bytes([byte]) for byte in range(256)}
        self._begins = frozenset(begins if wanted else ())
        self._name = name
        self._codes: dict[_Naming, int] = {}
        self._texts: dict[bytes, tuple[str, str]] = {}

    def forget(self) -> None:
        """Drop what was memoised (the codes it gave are no longer valid)."""
        self._codes.clear()
        self._texts.clear()

    def read(self, spans: Sequence[bytes], groups: Sequence[Hashable]) -> Heads:
        """Read *spans*; `groups[i]` is what, beside its own fields, the name of span i depends on (its envelope)."""
        parse = SpanHead.FromString
        codes, begins = self._codes, self._begins
        span_ids: list[bytes] = []
        parent_ids: list[bytes] = []
        starts: list[int] = []
        ends: list[int] = []
        kinds: list[int] = []
        found: list[int] = []
        for span, group in zip(spans, groups, strict=True):
            head = parse(span)
            span_ids.append(head.span_id)
            parent_ids.append(head.parent_span_id or _NO_ID)
            starts.append(head.start)
            ends.append(head.end)
            kind = head.kind
            kinds.append(kind)
            attributes = self._attributes([a for a in head.attributes[:] if a[:2] in begins]) if begins else ()
            key = (group, head.name, kind, head.status.code, attributes)
            code = codes.get(key)
            if code is None:
                code = self._new(key)
            found.append(code)
        return Heads(
            span_id=_ids(span_ids),
            parent_id=_ids(parent_ids),
            start=_times(starts),
            end=_times(ends),
            server=np.isin(np.array(kinds, np.int64), _SERVER_KINDS),
            code=np.array(found, np.int64),
        )

    def _attributes(self, encoded: Iterable[bytes]) -> tuple[tuple[str, str], ...]:
        texts, wanted = self._texts, self._wanted
        found: list[tuple[str, str]] = []
        for attribute in encoded:
            if attribute[:1] == _KEY and attribute[1] < _SHORT and attribute[2 : 2 + attribute[1]] not in wanted:
                continue
            known = texts.get(attribute) or self._text(attribute)
            if known[0]:
                found.append(known)
        return tuple(found)

    def _text(self, attribute: bytes) -> tuple[str, str]:
        """Give the key, or an empty one if it is not wanted after all, and the value as text."""
        parsed = KeyValue.FromString(attribute)
        wanted = parsed.key.encode() in self._wanted
        known = (parsed.key, text(parsed.value)) if wanted else ("", "")
        if len(attribute) < _LONG:
            if len(self._texts) >= _MEMO:
                self._texts.clear()
            self._texts[attribute] = known
        return known

    def _new(self, key: _Naming) -> int:
        group, name, kind, status, attributes = key
        code = self._name(group, name.decode("utf-8", "replace"), kind, status, dict(attributes))
        if len(name) + sum(len(value) for _, value in attributes) < _LONG:
            if len(self._codes) >= _MEMO:
                self._codes.clear()
            self._codes[key] = code
        return code


def _length(key: bytes) -> bytes:
    """Give the length of *key* as a varint."""
    rest, out = len(key), bytearray()
    while rest > 0x7F:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    return bytes((*out, rest))


def _ids(ids: list[bytes]) -> npt.NDArray[np.uint64]:
    joined = b"".join(ids)
    if len(joined) != _ID_BYTES * len(ids) or any(len(one) != _ID_BYTES for one in ids):
        joined = b"".join(one if len(one) == _ID_BYTES else _NO_ID for one in ids)
    return np.frombuffer(joined, ">u8").astype(np.uint64)


def _times(times: list[int]) -> npt.NDArray[np.int64]:
    return np.minimum(np.array(times, np.uint64), _LATEST).astype(np.int64)
