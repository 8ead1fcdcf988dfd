"""Lists of Zipkin v2 spans as tracers write them, read into typed records; anything unusual is left to the plain reader.

Spans of one operation differ in ids, times and annotations. The rest of a span is translated once and looked up by its
text ever after, which makes a span cost a fifth of what it costs as a dictionary.
Sources: as `_zipkin_reader`.
"""

from binascii import unhexlify
from collections.abc import Iterable, Sequence
from itertools import repeat
from typing import Any, Final

import msgspec
import numpy as np
import orjson

from otel_tracead.wire import _zipkin_reader as reader
from otel_tracead.wire import _zipkin_text
from otel_tracead.wire._records import NULL, SPAN_ID, START_AND_END, TRACE_ID, Unusual, attempt
from otel_tracead.wire.batch import TranslatedSpan

_LONG: Final = 1024  # bytes of what repeats from which on it is not remembered: memory is bounded
_REMEMBERED: Final = 1 << 13
_NO_TRACE, _NO_SPAN = "0" * TRACE_ID, "0" * SPAN_ID
_LATEST: Final = reader.END_OF_TIME // 2  # two of them fit into 64 bits of nanoseconds
_ESCAPE: Final = b"\\u00"  # may write a key
_SPACED: Final = b'": '
_BEGINNING: Final = 128  # bytes: the first key of a list is among them
_NOTHING: Final = b"null"
_MEMBER: Final = b'":'
_COLON: Final = b":"
_QUOTED: Final = b'\\":'  # inside of strings
_OTHER_MEMBERS: Final = 5  # traceId, id, parentId, timestamp, duration

Groups = dict[reader.EnvelopeFields, list[bytes]]
_Repeating = tuple[str | None, str | None, bytes, bytes, bytes, bool | None, bool | None, bool]
_Translation = tuple[reader.EnvelopeFields, bytes, bytes, int]
"""Whose span it is, its fields before and behind the times, and the colons in what of it was read."""


class _Record(msgspec.Struct, rename="camel", forbid_unknown_fields=True, gc=False):
    trace_id: str
    id: str
    parent_id: str | None = None
    name: str | None = None
    kind: str | None = None
    timestamp: int | float | None = None
    duration: int | float | None = None
    local_endpoint: msgspec.Raw = NULL
    remote_endpoint: msgspec.Raw = NULL
    tags: msgspec.Raw = NULL
    annotations: msgspec.Raw = NULL
    shared: bool | None = None
    debug: bool | None = None


_records: Final = msgspec.json.Decoder(list[_Record]).decode
_texts: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode
_known: Final[dict[_Repeating, _Translation]] = {}


def read(body: bytes, *, parse_string_tags: bool, originals: bool) -> Groups | None:
    """Translate a list of spans.

    Args:
        body: JSON.
        parse_string_tags: as `_zipkin_reader.read_span` takes it.
        originals: whether spans keep the form they came in.

    Returns:
        spans by whose they are, `TranslatedSpan`s with *originals*; None where the plain reader has to look.
    """
    if b"\\" in body and _ESCAPE in body:
        return None

    def whole(body: bytes) -> Groups:
        origins = _origins(body) if originals else repeat(None)
        return _translate(_records(body), origins, parse_string_tags, _colons(body))

    return attempt(whole, body)


def _origins(body: bytes) -> Sequence[bytes]:
    """Give each span's text, as `_zipkin_text.elements` does for spans in which no key stands twice."""
    if _SPACED in body[:_BEGINNING]:  # as Python's `json` prints, to be printed closer
        return _zipkin_text.elements(body, orjson.loads(body))
    return list(map(bytes, _texts(body)))


def _colons(body: bytes) -> int:
    return int(np.count_nonzero(np.frombuffer(body, np.uint8) == _COLON[0]))


def _translate(
    records: Sequence[_Record], origins: Iterable[bytes | None], parse_string_tags: bool, written: int
) -> Groups:
    # In one piece, with nothing called that Python runs: a third of the time of the same in functions.
    groups: Groups = {}
    known = _known.get
    colons = _OTHER_MEMBERS * len(records)  # one for each member, and those inside of what was read
    for record, origin in zip(records, origins):  # noqa: B905 (of no origins there is no end)
        remote = record.remote_endpoint
        repeating = (
            record.name,
            record.kind,
            bytes(record.local_endpoint),
            _NOTHING if remote is NULL else bytes(remote),
            bytes(record.tags),
            record.shared,
            record.debug,
            parse_string_tags,
        )
        fields, before, after, inside = known(repeating) or _learned(repeating)
        trace_id, span_id, parent_id = record.trace_id, record.id, record.parent_id
        if parent_id is None or parent_id in (span_id, _NO_SPAN) or len(trace_id) != TRACE_ID:
            trace_id, parent_id, digits = _unusual_ids(trace_id, span_id, parent_id)
            colons -= record.parent_id is None
        else:
            digits = f"0a10{trace_id}1208{span_id}2208{parent_id}"
        ids = unhexlify(digits)
        lengths = len(trace_id) == TRACE_ID and len(span_id) == len(parent_id) == SPAN_ID
        if not lengths or trace_id == _NO_TRACE or span_id == _NO_SPAN or ids.hex() != digits:  # not in lower case
            raise Unusual
        timestamp, duration = record.timestamp, record.duration
        colons += inside
        if type(timestamp) is type(duration) is int and 0 < timestamp < _LATEST and 0 <= duration < _LATEST:
            start = timestamp * 1000
            times = START_AND_END(b"\x39", start, b"\x41", start + duration * 1000)
        else:
            colons -= (timestamp is None) + (duration is None)
            times = reader.read_times(_microseconds(timestamp), _microseconds(duration))
        encoded = b"".join((ids, before, times, after))
        if record.annotations is not NULL:
            text = bytes(record.annotations)
            encoded += _annotations(text)
            colons += 1 + text.count(_COLON)
        if origin is not None:  # what `TranslatedSpan(encoded, origin)` does, at half its cost
            encoded = bytes.__new__(TranslatedSpan, encoded)
            encoded.origin = origin
        try:
            groups[fields].append(encoded)
        except KeyError:
            groups[fields] = [encoded]
    if colons != written:  # a key may stand twice: a Zipkin server looks at both, and only one was read
        raise Unusual
    return groups


def _unusual_ids(trace_id: str, span_id: str, parent_id: str | None) -> tuple[str, str, str]:
    """Give 128 bits of trace id, a parent id, and the digits of the fields of ids, of a root or of 64 bits of trace id."""
    trace_id = trace_id.zfill(TRACE_ID) if trace_id else ""
    digits = f"0a10{trace_id}1208{span_id}"
    if parent_id is None or parent_id in (span_id, _NO_SPAN):
        return trace_id, _NO_SPAN, digits
    return trace_id, parent_id, f"{digits}2208{parent_id}"


def _microseconds(value: float | None) -> int:
    if value is None:
        return 0
    if type(value) is not int or not 0 <= value < reader.END_OF_TIME:
        raise Unusual
    return value


def _learned(repeating: _Repeating) -> _Translation:
    """Translate what repeats, and remember it."""
    translation = _repeating(*repeating)
    name, _, local, remote, tags = repeating[:5]
    if len(local) + len(remote) + len(tags) < _LONG and (name is None or len(name) < _LONG):
        if len(_known) >= _REMEMBERED:
            _known.clear()
        _known[repeating] = translation
    return translation


def _repeating(
    name: str | None,
    kind: str | None,
    local: bytes,
    remote: bytes,
    tags: bytes,
    shared: bool | None,
    debug: bool | None,
    parse_string_tags: bool,
) -> _Translation:
    span = {
        "name": name,
        "kind": kind,
        "localEndpoint": _flat(local),
        "remoteEndpoint": _flat(remote),
        "tags": _flat(tags),
        "shared": shared,
        "debug": debug,
    }
    key, before, after = reader.read_repeating(span, parse_string_tags=parse_string_tags)
    members = sum(value is not None for value in span.values())
    inside = members + sum(
        text.count(_COLON) for text in (local, remote, tags, (name or "").encode(), (kind or "").encode())
    )
    return reader.envelope_fields(key), before, after, inside


def _annotations(text: bytes) -> bytes:
    annotations = orjson.loads(text)
    if annotations is None:
        return b""
    if type(annotations) is not list:
        raise Unusual
    members = 0
    for annotation in annotations:
        if annotation is None or "endpoint" in _checked(annotation):  # v1
            raise Unusual
        members += len(annotation)
    _once(text, members)
    return reader.read_annotations(annotations)


def _flat(text: bytes) -> Any:
    """Give what is null or an object without further brackets in it: only that deep do we know a span to be."""
    value = orjson.loads(text)
    if value is not None:
        _once(text, len(_checked(value)))
    return value


def _checked(value: Any) -> dict[str, Any]:
    if type(value) is not dict or any(type(item) in (dict, list) for item in value.values()):
        raise Unusual
    return value


def _once(text: bytes, members: int) -> None:
    """See that no key stands twice in *text*: that there are as many as *members*, which were read."""
    found = text.count(_MEMBER)
    if found != members:
        quoted = 0 if b"\\\\" in text else text.count(_QUOTED)
        if found - quoted != members and _zipkin_text.keys(text) != members:
            raise Unusual
