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
_SHORT: Final = 128  # lengths below it take one byte
_SERVER_KINDS: Final = (2, 5)  # SPAN_KIND_SERVER, SPAN_KIND_CONSUMER


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
        self._wanted = {key.encode(): key for key in attribute_keys}
        self._name = name
        self._codes: dict[tuple[Hashable, ...], int] = {}
        self._texts: dict[bytes, tuple[str, str]] = {}

    def forget(self) -> None:
        """Drop what was memoised (the codes it gave are no longer valid)."""
        self._codes.clear()
        self._texts.clear()

    def read(self, spans: Sequence[bytes], groups: Sequence[Hashable]) -> Heads:
        """Read *spans*; `groups[i]` is what, beside its own fields, the name of span i depends on (its envelope)."""
        parse = SpanHead.FromString
        codes, wanted = self._codes, self._wanted
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
            attributes = self._attributes(head.attributes) if wanted else ()
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
        found = ()
        wanted = self._wanted
        for attribute in encoded:
            # KeyValue as every encoder writes it: field 1 (key) first, with a length of one byte.
            if len(attribute) > 1 and attribute[0] == 0x0A and attribute[1] < _SHORT:
                if attribute[2 : 2 + attribute[1]] in wanted:
                    found += (self._text(attribute),)  # type: ignore[assignment]
            elif any(key in attribute for key in wanted) and KeyValue.FromString(attribute).key.encode() in wanted:
                found += (self._text(attribute),)  # type: ignore[assignment]
        return found

    def _text(self, attribute: bytes) -> tuple[str, str]:
        known = self._texts.get(attribute)
        if known is None:
            if len(self._texts) >= _MEMO:
                self._texts.clear()
            parsed = KeyValue.FromString(attribute)
            known = self._texts[attribute] = (parsed.key, text(parsed.value))
        return known

    def _new(self, key: tuple[Hashable, ...]) -> int:
        group, name, kind, status, attributes = key
        code = self._name(group, name.decode("utf-8", "replace"), kind, status, dict(attributes))  # type: ignore[attr-defined, arg-type, call-overload]
        if len(self._codes) >= _MEMO:
            self._codes.clear()
        self._codes[key] = code
        return code


def _ids(ids: list[bytes]) -> npt.NDArray[np.uint64]:
    joined = b"".join(ids)
    if len(joined) != _ID_BYTES * len(ids) or any(len(one) != _ID_BYTES for one in ids):
        joined = b"".join(one if len(one) == _ID_BYTES else _NO_ID for one in ids)
    return np.frombuffer(joined, ">u8").astype(np.uint64)


def _times(times: list[int]) -> npt.NDArray[np.int64]:
    return np.minimum(np.array(times, np.uint64), _LATEST).astype(np.int64)
