"""What breaks the rules of HTTP/2 ends the connection with the right code; nothing ends it in another way."""

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_tracead.http2 import Connection, ConnectionFailure, Reset, frames, header_block
from otel_tracead.http2.headers import LARGEST_HEADERS
from tests.http2.test_http2_against_h2 import Heard

BEGIN = frames.PREFACE + frames.settings([])
FIELDS = header_block([(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/")])
f = frames.frame


def receive(*parts: bytes) -> Heard:
    heard = Heard()
    connection = Connection(heard, client=False, streams=10)
    connection.receive(BEGIN)
    for part in parts:
        connection.receive(part)
    return heard


BROKEN = {
    "a frame that is too large": ((0x7FFFFF).to_bytes(3, "big") + b"\0" * 6, Reset.FRAME_SIZE_ERROR),
    "data on no stream": (f(frames.DATA, 0, 0, b"x"), Reset.PROTOCOL_ERROR),
    "headers on no stream": (f(frames.HEADERS, 4, 0, FIELDS), Reset.PROTOCOL_ERROR),
    "headers that are none": (f(frames.HEADERS, 4, 1, b"\xff\xff\xff\xff\xff"), Reset.COMPRESSION_ERROR),
    "headers that are cut off by data": (f(frames.HEADERS, 0, 1, FIELDS) + f(frames.DATA, 0, 1), Reset.PROTOCOL_ERROR),
    "headers continued on another stream": (
        f(frames.HEADERS, 0, 1, FIELDS) + f(frames.CONTINUATION, 4, 3),
        Reset.PROTOCOL_ERROR,
    ),
    "nothing continued": (f(frames.CONTINUATION, 4, 1), Reset.PROTOCOL_ERROR),
    "headers without end": (
        f(frames.HEADERS, 0, 1, FIELDS) + 70 * f(frames.CONTINUATION, 0, 1),
        Reset.ENHANCE_YOUR_CALM,
    ),
    "large headers": (
        f(frames.HEADERS, 0, 1, FIELDS) + 5 * f(frames.CONTINUATION, 0, 1, bytes(16_000)),
        Reset.ENHANCE_YOUR_CALM,
    ),
    "more padding than frame": (f(frames.DATA, frames.PADDED, 1, b"\x05abc"), Reset.PROTOCOL_ERROR),
    "padding without a length": (f(frames.DATA, frames.PADDED, 1), Reset.PROTOCOL_ERROR),
    "a priority that is cut off": (f(frames.HEADERS, 0x24, 1, b"abc"), Reset.FRAME_SIZE_ERROR),
    "a window of nothing": (f(frames.WINDOW_UPDATE, 0, 0, bytes(4)), Reset.PROTOCOL_ERROR),
    "a window without end": (2 * f(frames.WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff"), Reset.FLOW_CONTROL_ERROR),
    "a window that is cut off": (f(frames.WINDOW_UPDATE, 0, 0, b"abc"), Reset.FRAME_SIZE_ERROR),
    "settings that are cut off": (f(frames.SETTINGS, 0, 0, b"abc"), Reset.FRAME_SIZE_ERROR),
    "settings on a stream": (f(frames.SETTINGS, 0, 1), Reset.PROTOCOL_ERROR),
    "an impossible window": (frames.settings([(frames.INITIAL_WINDOW_SIZE, 1 << 31)]), Reset.FLOW_CONTROL_ERROR),
    "impossible frames": (frames.settings([(frames.MAX_FRAME_SIZE, 100)]), Reset.PROTOCOL_ERROR),
    "a ping of another size": (f(frames.PING, 0, 0, b"abc"), Reset.FRAME_SIZE_ERROR),
    "a ping on a stream": (f(frames.PING, 0, 1, bytes(8)), Reset.PROTOCOL_ERROR),
    "a reset of no stream": (f(frames.RST_STREAM, 0, 0, bytes(4)), Reset.PROTOCOL_ERROR),
    "a reset of another size": (f(frames.RST_STREAM, 0, 1, b"a"), Reset.FRAME_SIZE_ERROR),
    "a goodbye that is cut off": (f(frames.GOAWAY, 0, 0, b"a"), Reset.FRAME_SIZE_ERROR),
    "a push": (f(frames.PUSH_PROMISE, 4, 1, bytes(4)), Reset.PROTOCOL_ERROR),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_breaks_the_rules(name: str) -> None:
    sent, code = BROKEN[name]
    with pytest.raises(ConnectionFailure) as caught:
        receive(sent)
    assert caught.value.code is code


def test_what_is_left_alone() -> None:
    heard = receive(f(frames.PRIORITY, 0, 1, bytes(5)), f(77, 255, 9, b"new"), frames.settings([(99, 1)]))
    assert (heard.headers, heard.resets, heard.goaway) == ({}, {}, None)


def test_a_connection_begins_with_settings() -> None:
    with pytest.raises(ConnectionFailure, match="begins with SETTINGS"):
        Connection(Heard(), client=False).receive(frames.PREFACE + f(frames.PING, 0, 0, bytes(8)))


KINDS = st.integers(0, 11)
FRAMES = st.builds(f, KINDS, st.integers(0, 255), st.integers(0, 5), st.binary(max_size=60))
OPENED = f(frames.HEADERS, 4, 1, FIELDS)


def holds(connection: Connection) -> int:
    """Bytes and entries that *connection* keeps beside the windows of streams."""
    reader = connection._frames
    block = reader._block[2] if reader._block is not None else b""
    waiting = [body for _, body, _ in connection._waiting.values()]
    out = sum(map(len, connection._out))
    return len(reader._rest) + len(block) + len(connection._abandoned) + sum(map(len, waiting)) + out


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    sent=st.lists(st.one_of(FRAMES, st.just(OPENED), st.binary(max_size=30)), max_size=12),
    cut=st.integers(1, 50),
    client=st.booleans(),
)
def test_nothing_ends_it_in_another_way(sent: list[bytes], cut: int, client: bool) -> None:
    connection = Connection(Heard(), client=client, streams=10)
    connection.receive(BEGIN[len(frames.PREFACE) if client else 0 :])
    if client:
        connection.send_headers(connection.open(), FIELDS)
        connection.send_body(1, bytes(100_000))
    data = b"".join(sent)
    with suppress(ConnectionFailure):
        for start in range(0, len(data), cut):
            connection.receive(data[start : start + cut])
            connection.take()
            assert holds(connection) <= 100_000 + 20_000 + LARGEST_HEADERS
    assert len(connection._headers._known) <= 64
    assert set(connection._streams) <= {1, 3, 5}
