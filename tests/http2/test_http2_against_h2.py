"""Our connection against `h2`, an independent one: every body arrives whole, whatever the windows and however bytes are cut."""

from collections import defaultdict
from typing import Any

import h2.config
import h2.connection
import h2.events
import h2.settings
import pytest
from hpack import Decoder, Encoder
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_tracead.http2 import Connection, ConnectionFailure, Reset, frames, header_block
from otel_tracead.http2.connection import STREAM_WINDOW
from otel_tracead.http2.headers import Headers

REQUEST = [
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", b"/x/Y"),
    (b":authority", b"a"),
    (b"te", b"trailers"),
]


class Heard:
    """Everything that a connection said."""

    def __init__(self) -> None:
        self.headers: dict[int, list[list[tuple[bytes, bytes]]]] = defaultdict(list)
        self.bodies: dict[int, bytes] = defaultdict(bytes)
        self.ended: set[int] = set()
        self.resets: dict[int, int] = {}
        self.goaway: tuple[int, int, str] | None = None
        self.pings = self.pongs = self.settings = 0

    def on_headers(self, stream: int, headers: Headers, *, end: bool) -> None:
        self.headers[stream].append([(bytes(name), bytes(value)) for name, value in headers])
        if end:
            self.ended.add(stream)

    def on_data(self, stream: int, data: bytes, *, end: bool) -> None:
        self.bodies[stream] += data
        if end:
            self.ended.add(stream)

    def on_reset(self, stream: int, code: int) -> None:
        self.resets[stream] = code

    def on_goaway(self, last: int, code: int, text: str) -> None:
        self.goaway = (last, code, text)

    def on_ping(self) -> None:
        self.pings += 1

    def on_pong(self) -> None:
        self.pongs += 1

    def on_settings(self) -> None:
        self.settings += 1


def theirs(*, client: bool, window: int | None = None, frame: int | None = None) -> Any:
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=client, header_encoding=None))
    connection.initiate_connection()
    changes = {}
    if window is not None:
        changes[h2.settings.SettingCodes.INITIAL_WINDOW_SIZE] = window
    if frame is not None:
        changes[h2.settings.SettingCodes.MAX_FRAME_SIZE] = frame
    connection.update_settings(changes)
    return connection


def feed(connection: Connection, data: bytes, cut: int) -> None:
    for start in range(0, len(data), cut):
        connection.receive(data[start : start + cut])


def exchange(ours: Connection, other: Any, cut: int = 1 << 20) -> list[Any]:
    """Carry bytes both ways until nobody has any; windows at the other side are given back at once."""
    events = []
    while True:
        out, back = ours.take(), b""
        for event in other.receive_data(out):
            events.append(event)
            if isinstance(event, h2.events.DataReceived):
                other.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        back = other.data_to_send()
        feed(ours, back, cut)
        if not out and not back:
            return events


BODIES = st.lists(st.integers(0, 200_000).map(lambda size: bytes(index % 251 for index in range(size))), max_size=4)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(bodies=BODIES, cut=st.integers(1000, 70_000), padding=st.sampled_from([None, 0, 17, 255]))
def test_what_a_client_sends_arrives(bodies: list[bytes], cut: int, padding: int | None) -> None:
    heard = Heard()
    ours, client = Connection(heard, client=False, streams=100), theirs(client=True)
    exchange(ours, client, cut)
    streams = {2 * index + 1: body for index, body in enumerate(bodies)}
    for stream in streams:
        client.send_headers(stream, REQUEST)
    unsent = dict(streams)
    while unsent:
        for stream, body in list(unsent.items()):
            room = min(client.local_flow_control_window(stream), client.max_outbound_frame_size) - (padding or 0) - 1
            part, unsent[stream] = body[:room], body[room:]
            ended = not unsent[stream]
            client.send_data(stream, part, end_stream=ended, pad_length=padding)
            if ended:
                del unsent[stream]
        exchange(ours, client, cut)
    assert {stream: heard.bodies[stream] for stream in streams} == streams
    assert heard.ended == set(streams)
    for stream in streams:
        assert heard.headers[stream] == [REQUEST]


@settings(max_examples=40, deadline=None, derandomize=True)
@given(bodies=BODIES, window=st.integers(0, 100_000), frame=st.sampled_from([1 << 14, 1 << 15, 1 << 20]))
def test_what_we_send_arrives_when_there_is_room(bodies: list[bytes], window: int, frame: int) -> None:
    ours, server = Connection(Heard(), client=True), theirs(client=False, window=window, frame=frame)
    exchange(ours, server)
    streams = {2 * index + 1: body for index, body in enumerate(bodies)}
    for stream, body in streams.items():
        assert ours.open() == stream
        ours.send_headers(stream, header_block(REQUEST))
        ours.send_body(stream, body, header_block([(b"end", b"1")]))
    events = exchange(ours, server)
    server.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 250_000})
    events += exchange(ours, server)
    arrived: dict[int, bytes] = defaultdict(bytes)
    for event in events:
        if isinstance(event, h2.events.DataReceived):
            arrived[event.stream_id] += event.data
    assert {stream: arrived[stream] for stream in streams} == streams
    assert {event.stream_id for event in events if isinstance(event, h2.events.StreamEnded)} == set(streams)
    assert [event.headers for event in events if isinstance(event, h2.events.TrailersReceived)] == [
        [(b"end", b"1")] for _ in streams
    ]
    assert ours.waiting == 0


def test_a_stream_that_is_closed_is_forgotten_once_it_was_sent() -> None:
    ours, server = Connection(Heard(), client=True), theirs(client=False, window=3)
    exchange(ours, server)
    ours.open()
    ours.send_headers(1, header_block(REQUEST))
    ours.send_body(1, b"12345")
    assert (ours.waiting, set(ours._streams)) == (1, {1})
    assert any(isinstance(event, h2.events.StreamEnded) for event in exchange(ours, server))
    assert (ours.waiting, set(ours._streams)) == (0, {1})
    server.send_headers(1, [(b":status", b"200")], end_stream=True)
    exchange(ours, server)
    assert ours._streams == {}


NAMES = st.sampled_from([b":path", b"te", b"content-type", b"x-a", b"authorization", b"x" * 300])
FIELDS = st.lists(st.tuples(NAMES, st.binary(max_size=400)), max_size=8)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(fields=FIELDS)
def test_header_blocks_are_read_by_hpack_in_any_state(fields: list[tuple[bytes, bytes]]) -> None:
    decoder = Decoder(1 << 20)
    for _ in range(2):
        assert list(decoder.decode(header_block(fields), raw=True)) == fields
    assert decoder.header_table.dynamic_entries == type(decoder.header_table.dynamic_entries)()


@settings(max_examples=60, deadline=None, derandomize=True)
@given(values=st.lists(st.sampled_from([b"1", b"2", b"3"]), max_size=12), size=st.sampled_from([0, 40, 80, 4096]))
def test_headers_mean_the_same_however_often_they_were_seen(values: list[bytes], size: int) -> None:
    heard, encoder = Heard(), Encoder()
    encoder.header_table_size = size  # with little room, one number in the table stands for one value after the other
    ours = Connection(heard, client=False, streams=100)
    ours.receive(frames.PREFACE + frames.settings([]))
    for index, value in enumerate(values):
        block = encoder.encode([*REQUEST, (b"x", value)])
        ours.receive(frames.frame(frames.HEADERS, frames.END_HEADERS | frames.END_STREAM, 2 * index + 1, block))
    assert [heard.headers[2 * index + 1] for index in range(len(values))] == [
        [[*REQUEST, (b"x", value)]] for value in values
    ]


def test_a_body_larger_than_the_windows_is_given_room() -> None:
    heard = Heard()
    heard.on_data = lambda _stream, _data, *, end: None  # type: ignore[method-assign,assignment]  # nobody keeps it
    ours = Connection(heard, client=False, streams=10)
    ours.receive(frames.PREFACE + frames.settings([]))
    ours.receive(frames.frame(frames.HEADERS, frames.END_HEADERS, 1, header_block(REQUEST)))
    rooms = {0: frames.DEFAULT_WINDOW, 1: STREAM_WINDOW}
    part = frames.frame(frames.DATA, 0, 1, bytes(frames.SMALLEST_FRAME))
    for _ in range(18 << 20 >> 14):
        out = ours.take()
        for update in range(len(out) - 12):
            if out[update : update + 5] == bytes((0, 0, 4, frames.WINDOW_UPDATE, 0)):
                rooms[out[update + 8]] += int.from_bytes(out[update + 9 : update + 13], "big")
        rooms = {stream: room - frames.SMALLEST_FRAME for stream, room in rooms.items()}
        assert min(rooms.values()) >= 0
        ours.receive(part)


def test_headers_of_many_frames() -> None:
    heard = Heard()
    ours, client = Connection(heard, client=False, streams=10), theirs(client=True)
    large = [*REQUEST, *((b"x-%d" % index, b"v" * 1000) for index in range(40))]
    client.send_headers(1, large, end_stream=True)
    exchange(ours, client)
    assert heard.headers[1] == [large]
    other = Heard()
    back, server = Connection(other, client=True), theirs(client=False)
    back.open()
    back.send_headers(1, header_block(large), end=True)
    (request,) = [event for event in exchange(back, server) if isinstance(event, h2.events.RequestReceived)]
    assert request.headers == large


def test_pings_resets_and_goodbyes() -> None:
    heard = Heard()
    ours, client = Connection(heard, client=False, streams=10), theirs(client=True)
    client.send_headers(1, REQUEST)
    client.ping(b"12345678")
    client.reset_stream(1, error_code=8)
    ours.send_ping()
    events = exchange(ours, client)
    assert {type(event) for event in events} >= {h2.events.PingAckReceived, h2.events.PingReceived}
    assert (heard.pings, heard.pongs, heard.resets) == (1, 1, {1: Reset.CANCEL})
    client.close_connection(error_code=0, additional_data=b"bye", last_stream_id=0)
    feed(ours, client.data_to_send(), 5)
    assert heard.goaway == (0, 0, "bye")


def test_our_settings_are_what_we_hold_to() -> None:
    client = theirs(client=True)
    exchange(Connection(Heard(), client=False, streams=7), client)
    assert client.remote_settings.max_concurrent_streams == 7
    assert client.remote_settings.initial_window_size == STREAM_WINDOW
    with pytest.raises(ConnectionFailure) as caught:
        Connection(Heard(), client=False).receive(b"GET / HTTP/1.1\r\n\r\n")
    assert caught.value.code is Reset.PROTOCOL_ERROR


class Sequence(Heard):
    """Everything in order; parts of bodies that follow one another are one."""

    def __init__(self) -> None:
        self.all: list[tuple[object, ...]] = []

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("on_"):
            return object.__getattribute__(self, name)
        return lambda *args, **named: self.all.append((name, *args, *named.values()))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    bodies=st.lists(st.binary(max_size=300), max_size=4),
    cuts=st.lists(st.integers(1, 120), max_size=40),
    flip=st.one_of(st.none(), st.tuples(st.integers(0, 4000), st.integers(1, 255))),
)
def test_bytes_mean_the_same_however_they_are_cut(
    bodies: list[bytes], cuts: list[int], flip: tuple[int, int] | None
) -> None:
    client = theirs(client=True)
    for index, body in enumerate(bodies):
        client.send_headers(2 * index + 1, [*REQUEST, (b"x", b"%d" % (index % 2))])
        client.send_data(2 * index + 1, body, pad_length=index or None)
        client.ping(b"12345678")
        client.send_headers(2 * index + 1, [(b"t", b"1")], end_stream=True)
    data = bytearray(client.data_to_send())
    if flip is not None:
        data[flip[0] % len(data)] ^= flip[1]
    told = []
    for sizes in ([len(data)], cuts, [1]):
        heard, said = Sequence(), ""
        ours = Connection(heard, client=False, streams=10)
        position, turn = 0, 0
        try:
            while position < len(data):
                size = sizes[turn % len(sizes)] if sizes else len(data)
                ours.receive(bytes(data[position : position + size]))
                position, turn = position + size, turn + 1
        except ConnectionFailure as failure:
            said = f"{failure.code} {failure}"
        told.append((heard.all, said, ours.take()))
    assert told[0] == told[1] == told[2]
    if flip is None:
        assert [len(told[0][0]), told[0][1]] == [2 + 4 * len(bodies), ""]


def test_a_smaller_table_is_believed() -> None:
    ours, server = Connection(Heard(), client=True), theirs(client=False)
    exchange(ours, server)
    server.update_settings({h2.settings.SettingCodes.HEADER_TABLE_SIZE: 0})
    for _ in range(2):
        ours.send_headers(ours.open(), header_block(REQUEST), end=True)
        assert any(isinstance(event, h2.events.RequestReceived) for event in exchange(ours, server))
