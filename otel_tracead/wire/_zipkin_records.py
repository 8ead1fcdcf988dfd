"""Lists of Zipkin v2 spans as tracers write them, read into typed records; anything unusual is left to the plain reader.

Spans of one operation differ in ids, times and annotations. The rest of a span is translated once and looked up by its
text ever after, which makes a span cost a fifth of what it costs as a dictionary.
Sources: as `_zipkin_reader`.
"""

import re
from binascii import unhexlify
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

import msgspec
import numpy as np
import orjson

from otel_tracead.wire import _zipkin_reader as reader
from otel_tracead.wire import _zipkin_text
from otel_tracead.wire._records import NULL, SPAN_ID, START_AND_END, TRACE_ID, Unusual, attempt
from otel_tracead.wire.batch import TranslatedSpan

_LONG: Final = 1024  # bytes of what repeats from which on it is not remembered: memory is bounded
_NO_TRACE, _NO_SPAN = "0" * TRACE_ID, "0" * SPAN_ID
_LATEST: Final = reader.END_OF_TIME // 2  # two of them fit into 64 bits of nanoseconds
_ESCAPE: Final = b"\\u00"  # may write a key
_SPACED: Final = b'": '
_BEGINNING: Final = 128  # bytes: the first key of a list is among them
_NOTHING: Final = b"null"
_MEMBER: Final = b'":'
_SPACED_KEY: Final = re.compile(rb'"\s+:')
_COLON, _QUOTE, _SPACE = b':" '
_QUOTED: Final = b'\\":'  # inside of strings
_OTHER_MEMBERS: Final = 5  # traceId, id, parentId, timestamp, duration

Groups = dict[reader.EnvelopeFields, list[bytes]]


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


def read(body: bytes, *, parse_string_tags: bool) -> Groups | None:
    """Translate a list of spans.

    Args:
        body: JSON.
        parse_string_tags: as `_zipkin_reader.read_span` takes it.

    Returns:
        `TranslatedSpan`s by whose they are; None where the plain reader has to look.
    """
    if b"\\" in body and _ESCAPE in body:
        return None

    def whole(body: bytes) -> Groups:
        return _translate(_records(body), _origins(body), parse_string_tags, _members(body))

    return attempt(whole, body)


def _origins(body: bytes) -> Sequence[bytes]:
    """Give each span's text, as `_zipkin_text.elements` does for spans in which no key stands twice."""
    if _SPACED in body[:_BEGINNING]:  # as Python's `json` prints, to be printed closer
        return _zipkin_text.elements(body, orjson.loads(body))
    return list(map(bytes, _texts(body)))


def _members(body: bytes) -> int:
    """Count the keys of the objects in *body*, and whatever in a string looks like one."""
    # Half the time of searching for the two characters.
    characters = np.frombuffer(body, np.uint8)
    before = characters[np.flatnonzero(characters == _COLON) - 1]
    if before.min(initial=_SPACE + 1) <= _SPACE and _SPACED_KEY.search(body):
        raise Unusual
    return int(np.count_nonzero(before == _QUOTE))


def _translate(records: Sequence[_Record], origins: Sequence[bytes], parse_string_tags: bool, written: int) -> Groups:
    # In one piece, with nothing called that Python runs: a third of the time of the same in functions.
    groups: Groups = {}
    members = _OTHER_MEMBERS * len(records)
    for record, origin in zip(records, origins, strict=True):
        name = record.name
        local, tags = bytes(record.local_endpoint), bytes(record.tags)
        remote = _NOTHING if record.remote_endpoint is NULL else bytes(record.remote_endpoint)
        repeating = (name, record.kind, local, remote, tags, record.shared, record.debug, parse_string_tags)
        short = len(local) + len(remote) + len(tags) < _LONG and (name is None or len(name) < _LONG)
        fields, before, after, inside = _remembered(*repeating) if short else _repeating(*repeating)
        trace_id, span_id, parent_id = record.trace_id, record.id, record.parent_id
        if len(trace_id) != TRACE_ID:
            trace_id = trace_id.zfill(TRACE_ID) if trace_id else ""
        if parent_id is None or parent_id in (span_id, _NO_SPAN):
            if parent_id is None:
                members -= 1
            parent_id, digits = _NO_SPAN, f"0a10{trace_id}1208{span_id}"
        else:
            digits = f"0a10{trace_id}1208{span_id}2208{parent_id}"
        lengths = len(trace_id) == TRACE_ID and len(span_id) == len(parent_id) == SPAN_ID
        if not lengths or trace_id == _NO_TRACE or span_id == _NO_SPAN or digits != digits.lower():
            raise Unusual
        timestamp, duration = record.timestamp, record.duration
        members += inside
        if type(timestamp) is type(duration) is int and 0 < timestamp < _LATEST and 0 <= duration < _LATEST:
            start = timestamp * 1000
            times = START_AND_END(b"\x39", start, b"\x41", start + duration * 1000)
        else:
            members -= (timestamp is None) + (duration is None)
            times = reader.read_times(_microseconds(timestamp), _microseconds(duration))
        encoded = unhexlify(digits) + before + times + after
        if record.annotations is not NULL:
            text = bytes(record.annotations)
            looks_like = text.count(_MEMBER)
            encoded += _annotations(text, looks_like)
            members += 1 + looks_like
        # What `TranslatedSpan(encoded, origin)` does, at half its cost.
        span = bytes.__new__(TranslatedSpan, encoded)
        span.origin = origin
        if fields in groups:
            groups[fields].append(span)
        else:
            groups[fields] = [span]
    if members != written:  # a key may stand twice: a Zipkin server looks at both, and only one was read
        raise Unusual
    return groups


def _microseconds(value: float | None) -> int:
    if value is None:
        return 0
    if type(value) is not int or not 0 <= value < reader.END_OF_TIME:
        raise Unusual
    return value


def _repeating(
    name: str | None,
    kind: str | None,
    local: bytes,
    remote: bytes,
    tags: bytes,
    shared: bool | None,
    debug: bool | None,
    parse_string_tags: bool,
) -> tuple[reader.EnvelopeFields, bytes, bytes, int]:
    """Give whose span it is, its fields before and behind the times, and how many members of it were read."""
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
    inside = members + sum(text.count(_MEMBER) for text in (local, remote, tags))
    return reader.envelope_fields(key), before, after, inside


_remembered: Final = lru_cache(maxsize=1 << 13)(_repeating)


def _annotations(text: bytes, looks_like: int) -> bytes:
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
    _once(text, looks_like, members)
    return reader.read_annotations(annotations)


def _flat(text: bytes) -> Any:
    """Give what is null or an object without further brackets in it: only that deep do we know a span to be."""
    value = orjson.loads(text)
    if value is not None:
        _once(text, text.count(_MEMBER), len(_checked(value)))
    return value


def _checked(value: Any) -> dict[str, Any]:
    if type(value) is not dict or any(type(item) in (dict, list) for item in value.values()):
        raise Unusual
    return value


def _once(text: bytes, found: int, members: int) -> None:
    """See that no key stands twice in *text*: *found* are what looks like keys in it, *members* those that were read."""
    if found != members:
        quoted = 0 if b"\\\\" in text else text.count(_QUOTED)
        if found - quoted != members and _zipkin_text.keys(text) != members:
            raise Unusual
