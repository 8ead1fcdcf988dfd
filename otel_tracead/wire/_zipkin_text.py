"""The text of Zipkin JSON: cut out of a list span by span, tags added and removed, every other byte as its sender wrote it.

Numbers keep their spelling, unknown fields their place. All texts here were parsed once, so they are
valid JSON; a walk over them needs to tell strings, brackets and the rest apart, and no more.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

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
_KEY = re.compile(_STRING + rb"\s*+:", re.DOTALL)
_TAGS = "tags"
_IDS = frozenset({"traceId", "id", "parentId"})
_ESCAPE = b"\\u00"  # how any ASCII character may be written


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
            Spans that have `tags` more than once get them joined, which is how a Zipkin server reads them. Of any other key
            that stands twice the last one counted, and no other goes on: a server looks at each of them.

    Raises:
        Broken: an element cannot be printed, or has `tags` that are none; with its index.
    """
    printed = []
    for index, element in enumerate(parsed):
        try:
            printed.append(compact(element))
        except Broken as broken:
            broken.path.append(index)
            raise
    canonical = b"[" + b",".join(printed) + b"]"
    if canonical in (body, _squeezed(body)):
        return printed
    texts = []
    for index, (text, element) in enumerate(zip(_cut(body, len(parsed)), parsed, strict=True)):
        try:
            texts.append(_as_read(text, element))
        except Broken as broken:
            broken.path.append(index)
            raise
    return texts


def keys(text: bytes) -> int:
    """Count the keys in a JSON text, at any depth, each as often as it stands there."""
    return len(_KEY.findall(text))


def _squeezed(body: bytes) -> bytes:
    """Remove the spaces with which Python's `json` prints; strings may lose some too, and then are no longer the same."""
    return body.replace(b'": ', b'":').replace(b', "', b',"').replace(b", {", b",{")


def _cut(body: bytes, count: int) -> Iterator[bytes]:
    position = body.index(b"[") + 1
    for _ in range(count):
        start = _start(body, position)
        position = _end(body, start)
        yield body[start:position]


def _as_read(text: bytes, span: object) -> bytes:
    """Give *text* without keys that were not read: those that stand again behind them."""
    written = keys(text)
    if written == _members_of(span):
        return text
    if type(span) is dict:
        text = _joined(text, span)
    return text if keys(text) == _members_of(span) else compact(span)


def _members_of(value: Any) -> int:
    if type(value) is dict:
        return len(value) + sum(map(_members_of, value.values()))
    return sum(map(_members_of, value)) if type(value) is list else 0


def _joined(text: bytes, span: dict[str, Any]) -> bytes:
    members = list(_members(text))
    found = [orjson.loads(text[start:end]) for key, start, end in members if key == _TAGS]
    if len(found) < 2:
        return text
    if not all(tags is None or type(tags) is dict for tags in found):
        broken = Broken("expected an object, wherever the key stands")
        broken.path.append(_TAGS)
        raise broken
    span[_TAGS] = {key: value for tags in found for key, value in (tags or {}).items()}
    parts = [orjson.dumps(key) + b":" + text[start:end] for key, start, end in members if key != _TAGS]
    return b"{" + b",".join((*parts, b'"tags":' + compact(span[_TAGS]))) + b"}"


def with_tags(span: bytes, tags: Mapping[str, str]) -> bytes:
    """Write *tags* behind the span's own; a tag of the same name goes."""
    document = orjson.loads(span)
    if orjson.dumps(document) == span:  # then nothing is lost by printing it again, and that is faster
        document["tags"] = {**(document.get("tags") or {}), **tags}
        return orjson.dumps(document)
    added = orjson.dumps(tags)[1:-1]
    holder = _tags_of(span)
    if holder is None:
        end = span.rindex(b"}")
        return span[:end] + b',"tags":{' + added + b"}" + span[end:]
    start, end = holder
    members = filter(None, (_kept(span, start, end, tags.__contains__)[1:-1], added))
    return span[:start] + b"{" + b",".join(members) + b"}" + span[end:]


def without_tags(span: bytes, prefix: str) -> bytes:
    """Remove the tags whose key starts with *prefix*, however it is written; the very same object if there are none."""
    if prefix.encode() not in span and _ESCAPE not in span:
        return span
    holder = _tags_of(span)
    if holder is None or not any(tag.startswith(prefix) for tag, _, _ in _members(span, holder[0])):
        return span
    start, end = holder
    return span[:start] + _kept(span, start, end, lambda tag: tag.startswith(prefix)) + span[end:]


def with_lower_ids(span: bytes) -> bytes:
    """Write the span's ids in lower case: Zipkin takes no other."""
    parts: list[bytes] = []
    position = 0
    for key, start, end in _members(span):
        if key in _IDS:
            parts += (span[position:start], span[start:end].lower())
            position = end
    return b"".join((*parts, span[position:]))


def _tags_of(span: bytes) -> tuple[int, int] | None:
    return next(((start, end) for key, start, end in _members(span) if key == _TAGS), None)


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
