"""What may come on a stream, and when; what may not ends the stream, or the connection where the rules say so."""

import pytest

from otel_tracead.http2 import Connection, ConnectionFailure, Reset, frames, header_block
from otel_tracead.http2 import connection as http2
from tests.http2.test_bad_frames import BEGIN, FIELDS
from tests.http2.test_http2_against_h2 import Heard

f = frames.frame
ANSWER = header_block([(b":status", b"200")])
EARLY = header_block([(b":status", b"100")])
TRAILERS = header_block([(b"grpc-status", b"0")])
OPEN, WHOLE = f(frames.HEADERS, 4, 1, FIELDS), f(frames.HEADERS, 5, 1, FIELDS)
RESET = f(frames.RST_STREAM, 0, 1, bytes(4))
DATA, END = f(frames.DATA, 0, 1, b"x"), f(frames.DATA, 1, 1, b"x")


def resets(connection: Connection) -> dict[int, int]:
    """The streams that *connection* resets, and why."""
    out, found = connection.take(), {}
    while out:
        high, low, kind, _, stream = frames.HEAD.unpack_from(out)
        end = frames.HEAD_SIZE + (high << 8 | low)
        if kind == frames.RST_STREAM:
            found[stream] = int.from_bytes(out[frames.HEAD_SIZE : end], "big")
        out = out[end:]
    return found


def server(*parts: bytes) -> tuple[Connection, Heard]:
    heard = Heard()
    connection = Connection(heard, client=False, streams=10)
    for part in (BEGIN, *parts):
        connection.receive(part)
    return connection, heard


def client(*parts: bytes) -> tuple[Connection, Heard]:
    """One that has made a call."""
    heard = Heard()
    connection = Connection(heard, client=True)
    connection.receive(frames.settings([]))
    connection.send_headers(connection.open(), FIELDS)
    connection.send_body(1, b"call")
    connection.take()
    for part in parts:
        connection.receive(part)
    return connection, heard


def with_length(length: bytes, *more: bytes) -> bytes:
    fields = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/"), (b"content-length", length)]
    return f(frames.HEADERS, 4, 1, header_block([*fields, *((b"content-length", one) for one in more)]))


STREAMS = {
    "data behind the end": (WHOLE + DATA, Reset.STREAM_CLOSED),
    "headers behind the end": (WHOLE + f(frames.HEADERS, 5, 1, TRAILERS), Reset.STREAM_CLOSED),
    "data behind a reset": (OPEN + RESET + DATA, Reset.STREAM_CLOSED),
    "trailers without an end": (OPEN + f(frames.HEADERS, 4, 1, TRAILERS), Reset.PROTOCOL_ERROR),
    "a second beginning": (OPEN + f(frames.HEADERS, 5, 1, FIELDS), Reset.PROTOCOL_ERROR),
    "a beginning that is trailers": (f(frames.HEADERS, 5, 1, TRAILERS), Reset.PROTOCOL_ERROR),
    "less than its length": (with_length(b"2") + END, Reset.PROTOCOL_ERROR),
    "more than its length": (with_length(b"1") + DATA + DATA, Reset.PROTOCOL_ERROR),
    "less than its length, and trailers": (with_length(b"1") + f(frames.HEADERS, 5, 1, TRAILERS), Reset.PROTOCOL_ERROR),
    "two lengths": (with_length(b"1", b"2"), Reset.PROTOCOL_ERROR),
    "a length that is none": (with_length(b"-1"), Reset.PROTOCOL_ERROR),
    "a window of nothing": (OPEN + f(frames.WINDOW_UPDATE, 0, 1, bytes(4)), Reset.PROTOCOL_ERROR),
    "a window without end": (OPEN + 2 * f(frames.WINDOW_UPDATE, 0, 1, b"\x7f\xff\xff\xff"), Reset.FLOW_CONTROL_ERROR),
}


@pytest.mark.parametrize("name", STREAMS)
def test_what_ends_a_stream(name: str) -> None:
    sent, code = STREAMS[name]
    connection, heard = server(sent)
    assert resets(connection) == {1: code}
    assert connection._streams == {}
    told = {"data behind a reset": 0, "a beginning that is trailers": None, "two lengths": None}
    assert heard.resets.get(1) == told.get(name, None if name == "a length that is none" else code)
    connection.receive(f(frames.HEADERS, 5, 3, FIELDS))
    assert 3 in heard.headers


CONNECTIONS = {
    "headers behind the end of both": (OPEN + RESET + OPEN, Reset.STREAM_CLOSED),
    "a lower stream": (f(frames.HEADERS, 5, 5, FIELDS) + f(frames.HEADERS, 5, 3, FIELDS), Reset.STREAM_CLOSED),
    "an even stream": (f(frames.HEADERS, 5, 2, FIELDS), Reset.PROTOCOL_ERROR),
    "data on an idle stream": (DATA, Reset.PROTOCOL_ERROR),
    "a reset of an idle stream": (RESET, Reset.PROTOCOL_ERROR),
    "a window of an idle stream": (f(frames.WINDOW_UPDATE, 0, 1, b"\0\0\0\1"), Reset.PROTOCOL_ERROR),
    "a priority of no stream": (f(frames.PRIORITY, 0, 0, bytes(5)), Reset.PROTOCOL_ERROR),
    "a priority of another size": (f(frames.PRIORITY, 0, 1, bytes(4)), Reset.FRAME_SIZE_ERROR),
    "a push that is neither on nor off": (frames.settings([(frames.ENABLE_PUSH, 2)]), Reset.PROTOCOL_ERROR),
    "an answer to settings that says more": (f(frames.SETTINGS, frames.ACK, 0, bytes(6)), Reset.FRAME_SIZE_ERROR),
    "a window that settings make too large": (
        OPEN
        + f(frames.WINDOW_UPDATE, 0, 1, b"\x7f\xff\0\0")
        + frames.settings([(frames.INITIAL_WINDOW_SIZE, 1 << 30)]),
        Reset.FLOW_CONTROL_ERROR,
    ),
}


@pytest.mark.parametrize("name", CONNECTIONS)
def test_what_ends_a_connection(name: str) -> None:
    sent, code = CONNECTIONS[name]
    with pytest.raises(ConnectionFailure) as caught:
        server(sent)
    assert caught.value.code is code


def test_a_window_that_was_too_large_for_settings_is_forgotten_with_its_stream() -> None:
    wide = OPEN + f(frames.WINDOW_UPDATE, 0, 1, b"\x7f\xff\0\0") + RESET
    server(wide + frames.settings([(frames.INITIAL_WINDOW_SIZE, 1 << 30)]))


@pytest.mark.parametrize(
    "late", [DATA, END, f(frames.HEADERS, 5, 1, TRAILERS), RESET], ids=["data", "end", "trailers", "reset"]
)
def test_what_was_under_way_when_we_reset_a_stream_is_let_go_by(late: bytes) -> None:
    connection, heard = server(OPEN)
    connection.send_headers(1, ANSWER, end=True)
    connection.reset(1, Reset.NO_ERROR)
    assert resets(connection) == {1: 0}
    connection.receive(late)
    assert (resets(connection), heard.bodies, heard.resets) == ({}, {}, {})


def test_a_stream_is_forgotten_when_both_sides_have_ended_it() -> None:
    connection, _ = server(WHOLE)
    connection.send_headers(1, ANSWER, end=True)
    connection.reset(1, Reset.CANCEL)
    assert (connection._streams, resets(connection)) == ({}, {})


ANSWERS = {
    "data before headers": DATA,
    "trailers before headers": f(frames.HEADERS, 5, 1, TRAILERS),
    "two beginnings": 2 * f(frames.HEADERS, 4, 1, ANSWER),
    "nothing behind an early answer": f(frames.HEADERS, 5, 1, EARLY),
    "a status that is none": f(frames.HEADERS, 4, 1, header_block([(b":status", b"2000")])),
    "a request": f(frames.HEADERS, 4, 1, FIELDS),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_what_is_no_answer(name: str) -> None:
    connection, heard = client(ANSWERS[name])
    assert resets(connection) == {1: Reset.PROTOCOL_ERROR}
    assert heard.resets == {1: Reset.PROTOCOL_ERROR}


def test_an_early_answer_is_not_the_answer() -> None:
    early, answer = f(frames.HEADERS, 4, 1, EARLY), f(frames.HEADERS, 4, 1, ANSWER)
    connection, heard = client(early + early + answer + DATA + f(frames.HEADERS, 5, 1, TRAILERS))
    assert heard.headers[1] == [[(b":status", b"200")], [(b"grpc-status", b"0")]]
    assert (heard.bodies[1], heard.ended, connection._streams) == (b"x", {1}, {})


@pytest.mark.parametrize("sent", [f(frames.HEADERS, 4, 3, ANSWER), f(frames.HEADERS, 4, 2, ANSWER)])
def test_an_answer_that_nobody_asked_for(sent: bytes) -> None:
    with pytest.raises(ConnectionFailure, match="nobody opened"):
        client(sent)
    with pytest.raises(ConnectionFailure, match="pushes"):
        client(frames.settings([(frames.ENABLE_PUSH, 1)]))


def test_who_allows_no_table_is_told_that_there_is_none() -> None:
    connection, _ = client(frames.settings([(frames.HEADER_TABLE_SIZE, 0)]))
    connection.take()
    for first in (b"\x20", FIELDS[:1]):
        connection.send_headers(connection.open(), FIELDS)
        assert connection.take()[frames.HEAD_SIZE :][:1] == first


FLOODS = {
    "resets": lambda number: f(frames.HEADERS, 4, number, FIELDS) + f(frames.RST_STREAM, 0, number, bytes(4)),
    "broken streams": lambda number: (
        f(frames.HEADERS, 4, number, FIELDS) + f(frames.WINDOW_UPDATE, 0, number, bytes(4))
    ),
    "malformed requests": lambda number: f(frames.HEADERS, 4, number, TRAILERS),
    "settings": lambda _: frames.settings([(frames.INITIAL_WINDOW_SIZE, 0)] * 100),
    "answers to settings": lambda _: f(frames.SETTINGS, frames.ACK, 0),
    "priorities": lambda number: f(frames.PRIORITY, 0, number, bytes(5)),
    "empty data": lambda _: f(frames.DATA, 0, 99_999, b""),
    "unknown frames": lambda _: f(99, 0, 0, b""),
    "late data": lambda _: f(frames.DATA, 0, 1, b""),
    "goodbyes": lambda _: f(frames.GOAWAY, 0, 0, bytes(8)),
}


@pytest.mark.parametrize("name", FLOODS)
def test_floods_end_the_connection(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http2, "_MOST_WASTED", 500)
    connection, _ = server(*([OPEN + RESET] if name == "late data" else []))
    if name == "empty data":
        connection.receive(f(frames.HEADERS, 4, 99_999, FIELDS))
    for sent in range(490):
        connection.receive(FLOODS[name](2 * sent + 3))
    rest = b"".join(FLOODS[name](2 * sent + 3) for sent in range(490, 600))
    with pytest.raises(ConnectionFailure) as caught:
        connection.receive(rest)
    assert caught.value.code is Reset.ENHANCE_YOUR_CALM
    assert len(connection._streams) <= 1
    assert len(connection.take()) < 600 * 40


def test_what_comes_of_use_makes_up_for_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http2, "_MOST_WASTED", 5)
    connection, _ = server()
    for number in range(1, 101, 2):
        connection.receive(4 * frames.settings([]) + f(frames.HEADERS, 5, number, FIELDS))
        connection.send_headers(number, ANSWER, end=True)


def test_a_server_that_only_pings_is_left() -> None:
    with pytest.raises(ConnectionFailure, match="of no use"):
        client(*[f(frames.PING, 0, 0, bytes(8)) * 100] * 101)


def test_streams_that_we_refuse_are_remembered_up_to_a_bound() -> None:
    connection, _ = server()
    for number in range(1, 6001, 2):
        connection.receive(f(frames.HEADERS, 4, number, FIELDS))
        connection.reset(number, Reset.REFUSED_STREAM)
        connection.take()
    assert len(connection._abandoned) == 1000
    assert connection._streams == {}
