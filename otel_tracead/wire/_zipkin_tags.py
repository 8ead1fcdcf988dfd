"""What OTLP has fields for and Zipkin writes as tags, taken out of the tags again: kind, status, state, links, counts.

Sources: as `_zipkin_names`.
"""

import re
from collections.abc import Iterator
from typing import Any, Final

import orjson

from otel_tracead.wire import _writer
from otel_tracead.wire import _zipkin_names as names
from otel_tracead.wire._writer import delimited

_FIRST_LINK: Final = f"{names.LINK}0"
_FIELDS: Final = frozenset(
    {
        *(names.TRACE_STATE, names.SPAN_KIND, names.STATUS_CODE, names.ERROR, _FIRST_LINK),
        *(names.DROPPED_ATTRIBUTES, names.DROPPED_EVENTS, names.DROPPED_LINKS),
    }
)
_BYTES: Final = "((?:[0-9a-fA-F]{2})*)"
# A trace state may hold bars, too: it ends before the first that a brace follows.
_LINK: Final = re.compile(
    rf"{_BYTES}\|{_BYTES}\|((?:[^|]|\|(?!\{{))*+)\|(\{{.*\}})\|([0-9]{{1,10}})", re.DOTALL | re.ASCII
)
_INTEGER: Final = re.compile(r"-?[0-9]{1,20}", re.ASCII)
_DOUBLE: Final = re.compile(r"-?[0-9]+\.[0-9]+", re.ASCII)
_LONGEST_DOUBLE: Final = 64  # characters
_BOOLEANS: Final = {"true": True, "false": False}


def take_fields(tags: dict[str, str], *, kind: bool) -> list[bytes]:
    """Remove from *tags* what is a field of OTLP's span, and give these fields encoded.

    Args:
        tags: what stays in them are attributes.
        kind: whether the span says its kind itself, so that the tag `span.kind` says nothing.
    """
    if _FIELDS.isdisjoint(tags):  # nearly always
        return []
    fields = [_state(tags), b"" if kind else _kind(tags), _status(tags), *_links(tags), *_dropped(tags)]
    return [field for field in fields if field]


def typed(text: str) -> str | int | float | bool:
    """Give the number or boolean that a tag's text spells, as the Collector's `parse_string_tags` does.

    A number that 64 bits do not hold stays text; the Collector makes the nearest one of it.
    """
    if _INTEGER.fullmatch(text):
        number = int(text)
        return number if -(1 << 63) <= number < 1 << 63 else text
    if len(text) <= _LONGEST_DOUBLE and _DOUBLE.fullmatch(text):
        return float(text)
    return _BOOLEANS.get(text, text)


def _state(tags: dict[str, str]) -> bytes:
    state = tags.pop(names.TRACE_STATE, "")
    return delimited(b"\x1a", state.encode()) if state else b""


def _kind(tags: dict[str, str]) -> bytes:
    if tags.get(names.SPAN_KIND) != "internal":
        return b""
    del tags[names.SPAN_KIND]
    return b"\x30" + _writer.varint(names.INTERNAL)


def _status(tags: dict[str, str]) -> bytes:
    code = names.STATUS_CODES.get(tags.get(names.STATUS_CODE, ""), 0)
    description = ""
    if code:
        del tags[names.STATUS_CODE]
        description = tags.pop(names.STATUS_DESCRIPTION, "")
    error = tags.get(names.ERROR)
    if error is not None and error.lower() != "false":
        del tags[names.ERROR]
        code = names.STATUS_CODES["ERROR"]
        description = description or ("" if error.lower() == "true" else error)
    if not code:
        return b""
    text_field = delimited(b"\x12", description.encode()) if description else b""
    return delimited(b"\x7a", text_field + b"\x18" + _writer.varint(code))


def _dropped(tags: dict[str, str]) -> Iterator[bytes]:
    for tag, key in (
        (b"\x50", names.DROPPED_ATTRIBUTES),
        (b"\x60", names.DROPPED_EVENTS),
        (b"\x70", names.DROPPED_LINKS),
    ):
        if key in tags and (count := count_of(tags[key])) is not None:
            del tags[key]
            yield tag + _writer.varint(count)


def _links(tags: dict[str, str]) -> Iterator[bytes]:
    """Read `traceid|spanid|tracestate|json|dropped`; a tag in another form stays a tag."""
    for number in range(names.MAX_LINKS):
        key = f"{names.LINK}{number}"
        if key not in tags:
            return
        found = _LINK.fullmatch(tags[key])
        count = count_of(found[5]) if found else None
        attributes = json_object(found[4]) if found else None
        if found is None or count is None or attributes is None:
            continue
        del tags[key]
        link = [delimited(b"\x0a", bytes.fromhex(found[1])), delimited(b"\x12", bytes.fromhex(found[2]))]
        if found[3]:
            link.append(delimited(b"\x1a", found[3].encode()))
        link += [_writer.attribute(b"\x22", name, value) for name, value in attributes.items()]
        if count:
            link.append(b"\x28" + _writer.varint(count))
        yield delimited(b"\x6a", b"".join(link))


def count_of(digits: str) -> int | None:
    """Give a count of 32 bits that is written in decimal digits, or None."""
    if digits.isascii() and digits.isdigit() and len(digits) <= 10 and int(digits) < 1 << 32:
        return int(digits)
    return None


def json_object(encoded: str) -> dict[str, Any] | None:
    """Parse a JSON object that holds attribute values; None if it is something else."""
    try:
        found = orjson.loads(encoded)
        _writer.any_value(found)
    except ValueError:
        return None
    return found if type(found) is dict else None
