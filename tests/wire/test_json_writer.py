"""Spans printed from their bytes: what a parsed span gives, whatever the layout."""

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from otel_tracead.wire import _json_writer as writer
from tests.wire import protobuf_strategies as some

_IDS = b"\x0a\x10" + bytes(range(16)) + b"\x12\x08" + b"\x01" * 8
_PARENT = b"\x22\x08" + b"\x02" * 8
_NAME, _KIND = b"\x2a\x01x", b"\x30\x02"
_TIMES = b"\x39" + b"\x05" * 8 + b"\x41" + b"\x06" * 8
_ATTRIBUTE = b"\x4a\x07\x0a\x01k\x12\x02\x10\x01"
_FLAGS = b"\x85\x01\x01\x01\x00\x00"
USUAL = _IDS + _PARENT + _NAME + _KIND + _TIMES + _ATTRIBUTE + _FLAGS
_fields = st.sampled_from(
    [
        *(_IDS, _PARENT, _NAME, _KIND, _TIMES, _ATTRIBUTE, _FLAGS, b"\x7a\x02\x18\x02", b"\x7a\x00", b"\x1a\x03a=b"),
        # Present and empty: of what came before only this counts.
        *(b"\x0a\x00", b"\x22\x00", b"\x2a\x00", b"\x30\x00", b"\x39" + bytes(8), b"\x7a\x02\x18\x00"),
        # Longer than usual: a name, a kind, an event.
        *(b"\x2a\xc8\x01" + b"n" * 200, b"\x30\x80\x01", b"\x5a\x04\x12\x02ok", *some.UNKNOWN),
    ]
)


def _plain(encoded):
    return orjson.dumps(writer._object(encoded)).decode()


def _check(encoded):
    assert writer._span(encoded) == _plain(encoded)
    assert writer._span(encoded) == _plain(encoded)  # out of memory, too


@given(some.spans)
@settings(max_examples=100, deadline=None, derandomize=True)
def test_prints_what_a_parsed_span_gives(span):
    _check(span.SerializeToString())


@given(st.lists(_fields, max_size=4), st.booleans())
@settings(max_examples=100, deadline=None, derandomize=True)
def test_prints_fields_in_any_order_and_more_than_once(fields, usual):
    encoded = (USUAL if usual else b"") + b"".join(fields)
    Span.FromString(encoded)
    _check(encoded)


@pytest.mark.parametrize("fields", [_IDS + _TIMES, USUAL, _IDS + _PARENT + _KIND + _TIMES + b"\x7a\x00"])
def test_the_usual_layout_needs_no_parser(fields, monkeypatch):
    expected = _plain(fields)
    monkeypatch.setattr(writer, "_object", None)
    assert writer._span(fields) == expected


@pytest.mark.parametrize("size", range(len(USUAL)))
def test_a_prefix_is_no_usual_span(size):
    try:
        Span.FromString(USUAL[:size])
    except Exception:  # noqa: BLE001 (no span at all)
        return
    _check(USUAL[:size])


def test_a_long_name_may_look_like_times():
    _check(_IDS + b"\x2a\xc8\x01" + b"n" * 199 + b"9" + b"\x39" + b"A" * 8 + b"\x41" + b"\x06" * 8)
    _check(_IDS + _NAME + b"\x30\xb9\x80\x01" + b"\x39" + b"A" * 8 + b"\x41" + b"\x06" * 8)
