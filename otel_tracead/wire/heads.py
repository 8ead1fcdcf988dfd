"""Reads of encoded spans just what a label and a sequence need, as columns."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final

import numpy as np
import numpy.typing as npt
from opentelemetry.proto.common.v1.common_pb2 import KeyValue

from otel_tracead.wire._shallow import SpanHead
from otel_tracead.wire.columns import WantedAttributes, read_columns
from otel_tracead.wire.joined import Joined
from otel_tracead.wire.runs import Runs
from otel_tracead.wire.span_bytes import SpanBytes, mixed
from otel_tracead.wire.values import text

_ID_BYTES: Final = 8
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
        self._in_columns = WantedAttributes(wanted)
        # How a KeyValue with such a key begins: with the key's length, as every encoder writes it, or with its value.
        begins = {_KEY + _length(key)[:1] for key in wanted} | {_VALUE + bytes([byte]) for byte in range(256)}
        self._begins = frozenset(begins if wanted else ())
        self._name = name
        self._codes: dict[_Naming, int] = {}
        self._texts: dict[bytes, tuple[str, str]] = {}
        self.forget()

    def forget(self) -> None:
        """Drop what was memoised (the codes it gave are no longer valid)."""
        self._codes.clear()
        self._texts.clear()
        self._groups: dict[int, Hashable] = {}
        self._namings = np.zeros(0, np.uint64)
        self._naming_codes = np.zeros(0, np.int64)

    def read(
        self,
        spans: Sequence[Joined],
        groups: Sequence[Sequence[Hashable]],
    ) -> Heads:
        """Read the spans of several lists.

        Args:
            spans: encoded, in lists (one a trace, for what stands near in memory is joined faster); together `n`.
            groups: what, beside its own fields, the name of each span depends on (its envelope); lists as *spans*, best
                as `Runs`.

        Raises:
            ValueError: there are fewer groups than spans.
        """
        data = SpanBytes(spans)
        columns = read_columns(data, self._in_columns)
        code = self._known_codes(mixed(columns.naming, _addresses(groups, len(data))), columns.read, data, groups)
        heads = Heads(
            span_id=columns.span_id,
            parent_id=columns.parent_id,
            start=np.minimum(columns.start, _LATEST).astype(np.int64),
            end=np.minimum(columns.end, _LATEST).astype(np.int64),
            server=(columns.kind == _SERVER_KINDS[0]) | (columns.kind == _SERVER_KINDS[1]),
            code=code,
        )
        odd = (~columns.read).nonzero()[0].tolist()
        group = list(chain.from_iterable(groups)) if odd else []
        for index in odd:
            head = SpanHead.FromString(data.span(index))
            heads.span_id[index] = _id(head.span_id)
            heads.parent_id[index] = _id(head.parent_span_id)
            heads.start[index] = min(head.start, int(_LATEST))
            heads.end[index] = min(head.end, int(_LATEST))
            heads.server[index] = head.kind in _SERVER_KINDS
            heads.code[index] = self._code(head, group[index])
        return heads

    def _known_codes(
        self,
        naming: npt.NDArray[np.uint64],
        read: npt.NDArray[np.bool_],
        data: SpanBytes,
        groups: Sequence[Sequence[Hashable]],
    ) -> npt.NDArray[np.int64]:
        """Look the namings up among those met before; a new one is parsed, once."""
        place = self._namings.searchsorted(naming)
        inside = np.minimum(place, max(len(self._namings) - 1, 0))
        known = self._namings[inside] == naming if len(self._namings) else np.zeros(len(naming), np.bool_)
        unknown = (read & ~known).nonzero()[0]
        if not len(unknown):
            return self._naming_codes[inside] if len(self._namings) else np.zeros(len(naming), np.int64)
        new, first = np.unique(naming[unknown], return_index=True)
        index = unknown[first]
        if len(self._namings) + len(new) > _MEMO:
            self._groups.clear()
            self._namings, self._naming_codes = self._namings[:0], self._naming_codes[:0]
            new, first = np.unique(naming[read], return_index=True)
            index = np.flatnonzero(read)[first]
        codes = []
        group = list(chain.from_iterable(groups))
        for one in index.tolist():
            # Held, so that its address is nobody else's as long as it is part of what is remembered.
            self._groups[id(group[one])] = group[one]
            codes.append(self._code(SpanHead.FromString(data.span(one)), group[one]))
        namings = np.concatenate((self._namings, new))
        order = np.argsort(namings)
        self._namings = namings[order]
        self._naming_codes = np.concatenate((self._naming_codes, np.array(codes, np.int64)))[order]
        return self._naming_codes[np.minimum(np.searchsorted(self._namings, naming), len(namings) - 1)]

    def _code(self, head: SpanHead, group: Hashable) -> int:
        begins = self._begins
        attributes = self._attributes([a for a in head.attributes[:] if a[:2] in begins]) if begins else ()
        key = (group, head.name, head.kind, head.status.code, attributes)
        found = self._codes.get(key)
        return self._new(key) if found is None else found

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


def _addresses(groups: Sequence[Sequence[Hashable]], spans: int) -> npt.NDArray[np.uint64]:
    """Give a number for the group of each of so many *spans*, the same for the same group only."""
    runs = [one if type(one) is Runs else Runs.of(one) for one in groups]
    values = list(chain.from_iterable([one.values for one in runs]))
    counts = list(chain.from_iterable([one.counts for one in runs]))
    found = np.fromiter(map(id, values), np.uint64, len(values)).repeat(counts)
    if len(found) < spans:
        raise ValueError(f"{len(found)} groups are too few for {spans} spans")
    return found[:spans]


def _length(key: bytes) -> bytes:
    """Give the length of *key* as a varint."""
    rest, out = len(key), bytearray()
    while rest > 0x7F:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    return bytes((*out, rest))


def _id(one: bytes) -> int:
    return int.from_bytes(one, "big") if len(one) == _ID_BYTES else 0
