"""HTTP/2 without I/O, at both ends: bytes to events, however they are cut."""

import random
from typing import Any, Final

from fuzz import mutation
from fuzz.target import Finding, Target
from fuzz.targets.oracles import holds
from otel_tracead.http2 import Connection, ConnectionFailure, header_block, pack
from otel_tracead.http2 import frames as f

FIELDS: Final = header_block(
    (
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", b"/opentelemetry.proto.collector.trace.v1.TraceService/Export"),
        (b":authority", b"a"),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
        (b"grpc-encoding", b"gzip"),
    )
)
ANSWER: Final = header_block(((b":status", b"200"), (b"content-type", b"application/grpc")))
TRAILERS: Final = header_block(((b"grpc-status", b"14"), (b"grpc-message", b"full%21")))
STREAMS: Final = 20
_MOST_HELD: Final = 1 << 18


class _Heard:
    """Notes what is heard, and answers each request that has come whole."""

    def __init__(self, *, client: bool) -> None:
        self.events: list[tuple[Any, ...]] = []
        self.open: set[int] = set()
        self.waited = False
        self.http: Connection = Connection(self, client=client, streams=STREAMS)
        self._client = client

    def on_headers(self, stream: int, headers: Any, *, end: bool) -> None:
        self.events.append(("headers", stream, tuple(headers), end))
        if not self._client and stream not in self.open and len(self.open) >= STREAMS:
            self.http.reset(stream, f.Reset.REFUSED_STREAM)
            return
        self.open.add(stream)
        self._ended(stream, end=end)

    def on_data(self, stream: int, data: bytes, *, end: bool) -> None:
        if stream not in self.open and not self._client:
            raise Finding("a part of a body came on a stream that nobody opened")
        # However the bytes are cut, the parts are those of the frames.
        self.events.append(("data", stream, data, end))
        self._ended(stream, end=end)

    def on_reset(self, stream: int, code: int) -> None:
        self.open.discard(stream)
        self.events.append(("reset", stream, int(code)))

    def on_goaway(self, last: int, code: int, text: str) -> None:
        self.events.append(("goaway", last, code, text))

    def on_ping(self) -> None:
        self.events.append(("ping",))

    def on_pong(self) -> None:
        self.events.append(("pong",))

    def on_settings(self) -> None:
        self.waited = self.waited or self.http.waiting > 0
        self.events.append(("settings",))

    def _ended(self, stream: int, *, end: bool) -> None:
        if end:
            self.open.discard(stream)
            if not self._client:
                self.http.send_headers(stream, ANSWER)
                self.http.send_body(stream, pack(b"x" * 40), TRAILERS)
                self.waited = self.waited or self.http.waiting > 0


def _hear(parts: list[bytes], *, client: bool) -> list[tuple[Any, ...]] | None:
    """Give what is heard of *parts*; None where bodies had to wait: when they are sent, and streams over, is a matter of time."""
    heard = _Heard(client=client)
    http = heard.http
    if client:
        for _ in range(3):
            stream = http.open()
            heard.open.add(stream)
            http.send_headers(stream, FIELDS)
            http.send_body(stream, bytes(10_000))  # three of them find room at once
    try:
        for part in parts:
            http.receive(part)
            heard.waited = heard.waited or http.waiting > 0
            sent = http.take()
            if len(sent) > _MOST_HELD + 64 * len(part):
                raise Finding(f"{len(part)} bytes were answered by {len(sent)}")
    except ConnectionFailure as error:
        heard.events.append(("failed", int(error.code)))
    _is_bounded(http)
    return None if heard.waited else heard.events


def _is_bounded(http: Connection) -> None:
    inside: Any = http
    reader = inside._frames
    block = reader._block[2] if reader._block is not None else b""
    if len(reader._rest) > f.SMALLEST_FRAME + f.HEAD_SIZE or len(block) > 1 << 16:
        raise Finding("more is held than one frame, or one block of headers")
    if len(inside._abandoned) > 1000 or len(inside._headers._known) > 64 or len(inside._streams) > STREAMS + 3:
        raise Finding("streams or headers without bound are remembered")


def _both(data: bytes, *, client: bool) -> None:
    cut, stream = (data[0] + 1 if data else 1), data[1:]
    begin = (b"" if client else f.PREFACE) + f.frame(f.SETTINGS, 0, 0)
    if cut & 1:
        stream = begin + stream
    whole = _hear([stream], client=client)
    pieces = _hear([stream[start : start + cut] for start in range(0, len(stream), cut)], client=client)
    if whole is not None and pieces is not None:
        holds(pieces, whole, "what was heard in pieces")


def read_frames(data: bytes) -> list[bytearray]:
    """Cut bytes into frames; what is left over is one more."""
    found = []
    at = 0
    while len(data) - at >= f.HEAD_SIZE:
        end = at + f.HEAD_SIZE + int.from_bytes(data[at : at + 3], "big")
        found.append(bytearray(data[at:end]))
        at = end
    return [*found, bytearray(data[at:])] if at < len(data) else found


def mutate_frames(data: bytes, choice: random.Random) -> bytes:
    """Change whole frames, their flags, streams and payloads; lengths are put right."""
    cut, listed = data[:1] or b"\1", read_frames(data[1:])
    for _ in range(choice.choice((1, 1, 2, 3))):
        at = choice.randrange(len(listed) + 1)
        if at == len(listed) or choice.random() < 0.25:
            listed.insert(at, bytearray(_frame(choice)))
            continue
        frame = listed[at]
        match choice.randrange(7):
            case 0:
                del listed[at]
            case 1:
                listed.insert(choice.randrange(len(listed) + 1), bytearray(frame))
            case 2 if len(frame) >= f.HEAD_SIZE:
                frame[4] = choice.choice((0, 1, 4, 5, 8, 9, 0x20, 0x25, 0x2D, choice.randrange(256)))
            case 3 if len(frame) >= f.HEAD_SIZE:
                frame[5:9] = choice.choice((0, 1, 2, 3, 5, 7, 9, 41, 1 << 31, (1 << 31) - 1)).to_bytes(4, "big")
            case 4 if len(frame) >= f.HEAD_SIZE:
                frame[3] = choice.randrange(12)
            case _:
                payload = mutation.any_bytes(bytes(frame[f.HEAD_SIZE :]), choice)
                listed[at] = bytearray(len(payload).to_bytes(3, "big") + bytes(frame[3 : f.HEAD_SIZE]) + payload)
    if choice.random() < 0.1:
        cut = bytes((choice.randrange(256),))
    return cut + b"".join(listed)


def _frame(choice: random.Random) -> bytes:
    stream = choice.choice((0, 1, 1, 3, 5, 7, 9, 2))
    block = choice.choice((FIELDS, ANSWER, TRAILERS, b"\x82\x86\x84", b"\x3f\xe1\x1f", b"\xbe", b"\x40\x01a\x01b"))
    return choice.choice(
        (
            f.frame(f.HEADERS, choice.choice((4, 5, 0, 1, 0xC, 0x24)), stream, block),
            f.frame(f.CONTINUATION, choice.choice((0, 4)), stream, block),
            f.frame(f.DATA, choice.choice((0, 1, 8, 9)), stream, choice.choice((b"", pack(b"abc"), bytes(300)))),
            f.frame(f.RST_STREAM, 0, stream, bytes(4)),
            f.window_update(stream, choice.choice((0, 1, 65535, (1 << 31) - 1))),
            f.settings(
                [(choice.randrange(1, 8), choice.choice((0, 1, 1 << 14, (1 << 24) - 1, (1 << 31) - 1, 1 << 31)))]
            ),
            f.frame(f.SETTINGS, 1, 0),
            f.frame(f.PING, choice.choice((0, 1)), 0, bytes(8)),
            f.goaway(choice.choice((0, 1, (1 << 31) - 1)), choice.choice((0, 11)), "a"),
            f.frame(f.PRIORITY, 0, stream, bytes(5)),
            f.frame(f.PUSH_PROMISE, 4, stream, bytes(4)),
        )
    )


def _of_server() -> list[bytes]:
    request = f.frame(f.HEADERS, 4, 1, FIELDS) + f.frame(f.DATA, 1, 1, pack(b"abc"))
    return [b"\0" + request, b"\6" + request + f.frame(f.HEADERS, 5, 3, FIELDS) + f.frame(f.PING, 0, 0, bytes(8))]


def _of_client() -> list[bytes]:
    whole = f.frame(f.HEADERS, 4, 1, ANSWER) + f.frame(f.DATA, 0, 1, pack(b"")) + f.frame(f.HEADERS, 5, 1, TRAILERS)
    room = f.settings([(4, 1 << 20)]) + f.window_update(0, 1 << 20) + f.window_update(3, 1 << 10)
    return [b"\0" + whole, b"\6" + room + f.frame(f.HEADERS, 5, 3, ANSWER) + f.goaway(1, 0)]


HTTP2_SERVER: Final = Target(
    name="http2_server",
    what="what a client sends over HTTP/2; bounded, and the same however it is cut",
    run=lambda data: _both(data, client=False),
    seeds=_of_server,
    mutate=mutate_frames,
    instrumented=("otel_tracead.http2", "hpack"),
)
HTTP2_CLIENT: Final = Target(
    name="http2_client",
    what="what a server answers over HTTP/2; bounded, and the same however it is cut",
    run=lambda data: _both(data, client=True),
    seeds=_of_client,
    mutate=mutate_frames,
    instrumented=("otel_tracead.http2", "hpack"),
)
