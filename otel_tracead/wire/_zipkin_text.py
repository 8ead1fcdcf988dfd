"""The text of Zipkin JSON: cut out of a list span by span, tags added and removed, every other byte as its sender wrote it.

Numbers keep their spelling, unknown fields and repeated keys their place. All texts here were parsed once, so they are
valid JSON; a walk over them needs to tell strings, brackets and the rest apart, and no more.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence

import orjson

from otel_tracead.wire._json_reader import Broken

_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_PLAIN = rb'(?:[^"{}\[\]]++|' + _STRING + rb")*+"


def _around(inner: bytes) -> bytes:
    return rb'(?:[^"{}\[\]]++|' + _STRING + rb"|[{\[]" + inner + rb"[}\]])*+"


# A span nests three brackets deep; what is deeper is walked over bracket by bracket.
_VALUE = rb"[{\[]" + _around(_around(_PLAIN)) + rb"[}\]]|" + _STRING + rb'|[^\s,"{}\[\]]++'
_ANY_VALUE = re.compile(_VALUE, re.DOTALL)
_MEMBER = re.compile(rb"[\s,]*+(" + _STRING + rb")\s*+:\s*+(" + _VALUE + rb")?+", re.DOTALL)
_TO_BRACKET = re.compile(_PLAIN + rb"([{}\[\]])", re.DOTALL)
_BETWEEN = re.compile(rb"[\s,]*+")
_TAGS = "tags"
_IDS = frozenset({"traceId", "id", "parentId"})
_ESCAPE = b"\\u00"  # how any ASCII character may be written

_Edit = tuple[int, int, bytes]


def compact(document: object) -> bytes:
    """Print JSON that will be held for a while: what orjson gives keeps some KiB more than it needs.

    Raises:
        Broken: nested deeper than 254 brackets, which a Zipkin server would not read either.
    """
    try:
        return bytes(memoryview(orjson.dumps(document)))
    except orjson.JSONEncodeError as error:
        raise Broken("nested deeper than 254 brackets") from error


def elements(body: bytes, parsed: Sequence[object]) -> list[bytes]:
    """Give the texts of the elements of a JSON list.

    Args:
        body: the list.
        parsed: what it holds. Where printing this anew gives what came, but for spaces, nothing has to be cut out.

    Raises:
        Broken: an element cannot be printed; with its index.
    """
    printed = []
    for index, element in enumerate(parsed):
        try:
            printed.append(compact(element))
        except Broken as broken:
            broken.path.append(index)
            raise
    canonical = b"[" + b",".join(printed) + b"]"
    return printed if canonical in (body, _squeezed(body)) else list(_cut(body, len(parsed)))


def _squeezed(body: bytes) -> bytes:
    """Remove the spaces with which Python's `json` prints; strings may lose some too, and then are no longer the same."""
    return body.replace(b'": ', b'":').replace(b', "', b',"').replace(b", {", b",{")


def _cut(body: bytes, count: int) -> Iterator[bytes]:
    position = body.index(b"[") + 1
    for _ in range(count):
        start = _start(body, position)
        position = _end(body, start)
        yield body[start:position]


def with_tags(span: bytes, tags: Mapping[str, str]) -> bytes:
    """Write *tags* behind the span's own; a tag of the same name goes."""
    document = orjson.loads(span)
    if orjson.dumps(document) == span:  # then nothing is lost by printing it again, and that is faster
        document["tags"] = {**(document.get("tags") or {}), **tags}
        return orjson.dumps(document)
    added = orjson.dumps(tags)[1:-1]
    holders = [(start, end) for key, start, end in _members(span) if key == _TAGS]
    edits = [(start, end, _kept(span, start, end, tags.__contains__)) for start, end in holders]
    if not edits:
        end = span.rindex(b"}")
        return span[:end] + b',"tags":{' + added + b"}" + span[end:]
    start, end, kept = edits[-1]
    edits[-1] = (start, end, kept[:-1] + (b"," if kept != b"{}" else b"") + added + b"}")
    return _edited(span, edits)


def without_tags(span: bytes, prefix: str) -> bytes:
    """Remove the tags whose key starts with *prefix*, however it is written; the very same object if there are none."""
    if prefix.encode() not in span and _ESCAPE not in span:
        return span
    edits: list[_Edit] = []
    for key, start, end in _members(span):
        if key == _TAGS and any(tag.startswith(prefix) for tag, _, _ in _members(span, start)):
            edits.append((start, end, _kept(span, start, end, lambda tag: tag.startswith(prefix))))
    return _edited(span, edits) if edits else span


def with_lower_ids(span: bytes) -> bytes:
    """Write the span's ids in lower case: Zipkin takes no other."""
    return _edited(span, [(start, end, span[start:end].lower()) for key, start, end in _members(span) if key in _IDS])


def _start(text: bytes, position: int) -> int:
    found = _BETWEEN.match(text, position)
    return found.end() if found else position


def _end(text: bytes, start: int) -> int:
    """Give where the value that begins at *start* ends."""
    found = _ANY_VALUE.match(text, start)
    if found:
        return found.end()
    position, depth = start, 0
    while found := _TO_BRACKET.match(text, position):
        position = found.end()
        depth += 1 if found[1] in b"{[" else -1
        if not depth:
            return position
    raise ValueError("no JSON")


def _members(text: bytes, start: int | None = None) -> Iterator[tuple[str, int, int]]:
    """Walk over (key, start and end of its value) of the object that begins at *start*; none of what is no object."""
    position = _start(text, 0) if start is None else start
    if text[position : position + 1] != b"{":
        return
    position += 1
    while found := _MEMBER.match(text, position):
        key, value = found[1], found.start(2)
        if value < 0:
            value = found.end()
            position = _end(text, value)
        else:
            position = found.end()
        yield orjson.loads(key) if b"\\" in key else key[1:-1].decode(), value, position


def _kept(text: bytes, start: int, end: int, drop: Callable[[str], bool]) -> bytes:
    """Print the object between *start* and *end* (or null) without the members to *drop*."""
    members = []
    position = start + 1
    for key, _, after in _members(text[:end], start):
        if not drop(key):
            members.append(text[_start(text, position) : after])
        position = after
    return b"{" + b",".join(members) + b"}"


def _edited(text: bytes, edits: Sequence[_Edit]) -> bytes:
    parts: list[bytes] = []
    position = 0
    for start, end, replacement in edits:
        parts += (text[position:start], replacement)
        position = end
    return b"".join((*parts, text[position:]))
