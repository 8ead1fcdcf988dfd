"""One end of an HTTP/2 connection: frames in order, windows, settings. Source: RFC 9113."""

from collections.abc import Sequence
from typing import Final, Protocol

from hpack import Decoder
from hpack.exceptions import HPACKError

from otel_tracead.http2 import frames
from otel_tracead.http2.frames import ConnectionFailure, Reset

STREAM_WINDOW: Final = 1 << 20
"""Bytes of one body that may come before we say that more may."""
_CONNECTION_WINDOW: Final = 1 << 24
_LARGEST_HEADERS: Final = 1 << 16
_MOST_CONTINUATIONS: Final = 64
_MOST_BLOCKS: Final = 64
_INDEXED: Final = 0x80
_PING_SIZE: Final = 8
_PRIORITY_SIZE: Final = 5

Headers = Sequence[tuple[bytes, bytes]]


class Events(Protocol):
    """What is heard of a connection."""

    def on_headers(self, stream: int, headers: Headers, *, end: bool) -> None:
        """A block of headers came; *end*: nothing follows on this stream."""

    def on_data(self, stream: int, data: bytes, *, end: bool) -> None:
        """A part of a body came."""

    def on_reset(self, stream: int, code: int) -> None:
        """The other side wants no more of *stream*."""

    def on_goaway(self, last: int, code: int, text: str) -> None:
        """The other side looks at no stream after *last*."""

    def on_ping(self) -> None:
        """The other side asks whether we are there; the answer is under way."""

    def on_pong(self) -> None:
        """The other side is there."""

    def on_settings(self) -> None:
        """What the other side allows may have changed."""


class Connection:
    """Takes bytes and tells `Events` what they mean; collects the bytes to be sent.

    Knows streams only as far as windows go: which are open, and what that means, is its owner's.

    Args:
        events: hears what comes.
        client: which end this is.
        streams: that the other side may open at a time.

    Attributes:
        most_streams: that we may open at a time, as the other side says.
    """

    def __init__(self, events: Events, *, client: bool, streams: int = 0) -> None:
        self.most_streams = frames.LARGEST_WINDOW
        self._events = events
        self._rest = b""
        self._preface = b"" if client else frames.PREFACE
        self._greeted = False
        self._decoder = Decoder(_LARGEST_HEADERS)
        self._blocks: dict[bytes, Headers] = {}
        self._block: tuple[int, bool, bytearray] | None = None
        self._continuations = 0
        self._taken = 0
        self._partial: dict[int, int] = {}
        self._room = frames.DEFAULT_WINDOW
        self._stream_room = frames.DEFAULT_WINDOW
        self._largest_frame = frames.SMALLEST_FRAME
        self._rooms: dict[int, int] = {}
        self._waiting: dict[int, tuple[memoryview, bytes]] = {}
        wanted = [
            (frames.INITIAL_WINDOW_SIZE, STREAM_WINDOW),
            (frames.MAX_HEADER_LIST_SIZE, _LARGEST_HEADERS),
            (frames.ENABLE_PUSH, 0) if client else (frames.MAX_CONCURRENT_STREAMS, streams),
        ]
        self._readers = {
            frames.DATA: self._data,
            frames.HEADERS: self._headers,
            frames.CONTINUATION: self._continuation,
            frames.WINDOW_UPDATE: self._window_update,
            frames.RST_STREAM: self._rst_stream,
            frames.SETTINGS: self._settings,
            frames.PING: self._ping,
            frames.GOAWAY: self._goaway,
            frames.PUSH_PROMISE: self._push_promise,
        }
        self._out: list[bytes | memoryview] = [
            frames.PREFACE if client else b"",
            frames.settings(wanted),
            frames.window_update(0, _CONNECTION_WINDOW - frames.DEFAULT_WINDOW),
        ]

    @property
    def greeted(self) -> bool:
        """Whether the other side has begun as HTTP/2 begins."""
        return self._greeted

    def take(self) -> bytes:
        """Give what is to be sent."""
        out = b"".join(self._out)
        self._out.clear()
        return out

    def receive(self, data: bytes) -> None:
        """Read what came.

        Raises:
            ConnectionFailure: the connection cannot go on.
        """
        if self._rest:
            data = self._rest + data
        position = 0
        if self._preface:
            begun = data[: len(self._preface)]
            if not self._preface.startswith(begun):
                raise ConnectionFailure(Reset.PROTOCOL_ERROR, "this is not HTTP/2")
            if len(begun) < len(self._preface):
                self._rest = data
                return
            position, self._preface = len(begun), b""
        size = len(data)
        while size - position >= frames.HEAD_SIZE:
            high, low, kind, flags, stream = frames.HEAD.unpack_from(data, position)
            length = high << 8 | low
            if length > frames.SMALLEST_FRAME:
                raise ConnectionFailure(Reset.FRAME_SIZE_ERROR, f"a frame of {length} bytes is too large")
            end = position + frames.HEAD_SIZE + length
            if end > size:
                break
            self._read(kind, flags, stream & frames.LARGEST_WINDOW, data[position + frames.HEAD_SIZE : end])
            position = end
        self._rest = data[position:]

    def _read(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if self._block is not None and (kind != frames.CONTINUATION or stream != self._block[0]):
            raise ConnectionFailure(Reset.PROTOCOL_ERROR, "a block of headers was not finished")
        if not self._greeted:
            if kind != frames.SETTINGS:
                raise ConnectionFailure(Reset.PROTOCOL_ERROR, "a connection begins with SETTINGS")
            self._greeted = True
        reader = self._readers.get(kind)
        if reader is not None:  # PRIORITY, and what is unknown, is left alone
            reader(flags, stream, payload)

    def _rst_stream(self, _flags: int, stream: int, payload: bytes) -> None:
        _check(stream != 0, length=len(payload) == frames.NUMBER.size)
        self._events.on_reset(stream, frames.NUMBER.unpack(payload)[0])

    def _ping(self, flags: int, stream: int, payload: bytes) -> None:
        _check(stream == 0, length=len(payload) == _PING_SIZE)
        if flags & frames.ACK:
            self._events.on_pong()
        else:
            self._out.append(frames.frame(frames.PING, frames.ACK, 0, payload))
            self._events.on_ping()

    def _goaway(self, _flags: int, stream: int, payload: bytes) -> None:
        _check(stream == 0, length=len(payload) >= 2 * frames.NUMBER.size)
        last, code = frames.NUMBER.unpack_from(payload)[0], frames.NUMBER.unpack_from(payload, 4)[0]
        self._events.on_goaway(last & frames.LARGEST_WINDOW, code, payload[8:].decode("utf-8", "replace"))

    def _push_promise(self, _flags: int, _stream: int, _payload: bytes) -> None:
        raise ConnectionFailure(Reset.PROTOCOL_ERROR, "nothing may be pushed")

    def _data(self, flags: int, stream: int, payload: bytes) -> None:
        _check(stream != 0)
        length = len(payload)
        self._taken += length
        # Room is given again in bulk, whatever became of the bytes: how much of them is held is bounded by who holds it.
        if self._taken > _CONNECTION_WINDOW // 2:
            self._out.append(frames.window_update(0, self._taken))
            self._taken = 0
        end = bool(flags & frames.END_STREAM)
        if not end and stream in self._partial:
            length += self._partial[stream]
            if length > STREAM_WINDOW // 2:
                self._out.append(frames.window_update(stream, length))
                length = 0
            self._partial[stream] = length
        self._events.on_data(stream, _unpadded(payload) if flags & frames.PADDED else payload, end=end)

    def _headers(self, flags: int, stream: int, payload: bytes) -> None:
        _check(stream != 0)
        if flags & frames.PADDED:
            payload = _unpadded(payload)
        if flags & frames.WITH_PRIORITY:
            _check(length=len(payload) >= _PRIORITY_SIZE)
            payload = payload[_PRIORITY_SIZE:]
        end = bool(flags & frames.END_STREAM)
        if flags & frames.END_HEADERS:
            self._events.on_headers(stream, self._decoded(payload), end=end)
        else:
            self._block, self._continuations = (stream, end, bytearray(payload)), 0

    def _continuation(self, flags: int, _stream: int, payload: bytes) -> None:
        if self._block is None:
            raise ConnectionFailure(Reset.PROTOCOL_ERROR, "there are no headers to continue")
        stream, end, block = self._block
        self._continuations += 1
        block += payload
        if self._continuations > _MOST_CONTINUATIONS or len(block) > _LARGEST_HEADERS:
            raise ConnectionFailure(Reset.ENHANCE_YOUR_CALM, "the headers are too large")
        if flags & frames.END_HEADERS:
            self._block = None
            self._events.on_headers(stream, self._decoded(bytes(block)), end=end)

    def _decoded(self, block: bytes) -> Headers:
        """Decode a block of headers.

        A block that only names entries of the table means the same until another one changes the table: what a client sends
        with each request is decoded once (18 µs a request).
        """
        known = self._blocks.get(block)
        if known is not None:
            return known
        try:
            headers: Headers = list(self._decoder.decode(block, raw=True))
        except HPACKError as error:
            raise ConnectionFailure(Reset.COMPRESSION_ERROR, f"the headers cannot be read: {error}") from error
        if not block or min(block) < _INDEXED or len(self._blocks) >= _MOST_BLOCKS:
            self._blocks.clear()
        else:
            self._blocks[block] = headers
        return headers

    def _settings(self, flags: int, stream: int, payload: bytes) -> None:
        _check(stream == 0, length=len(payload) % frames.SETTING.size == 0)
        if flags & frames.ACK:
            return
        for name, value in frames.SETTING.iter_unpack(payload):
            if name == frames.INITIAL_WINDOW_SIZE:
                if value > frames.LARGEST_WINDOW:
                    raise ConnectionFailure(Reset.FLOW_CONTROL_ERROR, f"no window has {value} bytes")
                for open_stream in self._rooms:
                    self._rooms[open_stream] += value - self._stream_room
                self._stream_room = value
            elif name == frames.MAX_FRAME_SIZE:
                if not frames.SMALLEST_FRAME <= value <= frames.LARGEST_FRAME:
                    raise ConnectionFailure(Reset.PROTOCOL_ERROR, f"no frame has {value} bytes")
                self._largest_frame = value
            elif name == frames.MAX_CONCURRENT_STREAMS:
                self.most_streams = value
        self._out.append(frames.frame(frames.SETTINGS, frames.ACK, 0))
        self._send_waiting()
        self._events.on_settings()

    def _window_update(self, _flags: int, stream: int, payload: bytes) -> None:
        _check(length=len(payload) == frames.NUMBER.size)
        room = frames.NUMBER.unpack(payload)[0] & frames.LARGEST_WINDOW
        if stream == 0:
            self._room += room
            if room == 0 or self._room > frames.LARGEST_WINDOW:
                raise ConnectionFailure(Reset.FLOW_CONTROL_ERROR, "no window can be so large")
            self._send_waiting()
        elif stream in self._rooms:
            self._rooms[stream] += room
            if room == 0 or self._rooms[stream] > frames.LARGEST_WINDOW:
                raise ConnectionFailure(Reset.FLOW_CONTROL_ERROR, "no window can be so large")
            if stream in self._waiting:
                self._send_some(stream, *self._waiting.pop(stream))

    @property
    def waiting(self) -> int:
        """How many bodies wait for room at the other side."""
        return len(self._waiting)

    def open(self, stream: int) -> None:
        """Begin to count what may be sent on *stream*, and what came."""
        self._rooms[stream] = self._stream_room
        self._partial[stream] = 0

    def close(self, stream: int) -> None:
        """Nothing more is given to *stream*: forget it once what was given is sent."""
        self._partial.pop(stream, None)
        if stream not in self._waiting:
            self._rooms.pop(stream, None)

    def drop(self, stream: int) -> None:
        """Forget *stream*, and what of it has not been sent."""
        self._waiting.pop(stream, None)
        self.close(stream)

    def send_headers(self, stream: int, block: bytes, *, end: bool = False) -> None:
        """Send a block of headers (see `header_block`)."""
        flags = frames.END_STREAM if end else 0
        largest = self._largest_frame
        if len(block) <= largest:
            self._out.append(frames.frame(frames.HEADERS, flags | frames.END_HEADERS, stream, block))
            return
        self._out.append(frames.frame(frames.HEADERS, flags, stream, block[:largest]))
        for start in range(largest, len(block), largest):
            last = frames.END_HEADERS if start + largest >= len(block) else 0
            self._out.append(frames.frame(frames.CONTINUATION, last, stream, block[start : start + largest]))

    def send_body(self, stream: int, body: bytes, trailers: bytes = b"") -> None:
        """Send *body* and what ends the stream (the block *trailers*, if any) as soon as the windows allow."""
        self._send_some(stream, memoryview(body), trailers)

    def send_reset(self, stream: int, code: Reset) -> None:
        """End *stream* in both directions."""
        self._out.append(frames.frame(frames.RST_STREAM, 0, stream, frames.NUMBER.pack(code)))

    def send_ping(self) -> None:
        """Ask whether the other side is there."""
        self._out.append(frames.frame(frames.PING, 0, 0, bytes(8)))

    def send_goaway(self, last: int, code: Reset, text: str = "") -> None:
        """Say that no stream after *last* is looked at."""
        self._out.append(frames.goaway(last, code, text))

    def _send_waiting(self) -> None:
        for stream in tuple(self._waiting):
            self._send_some(stream, *self._waiting.pop(stream))

    def _send_some(self, stream: int, body: memoryview, trailers: bytes) -> None:
        room = min(self._room, self._rooms[stream])
        start, size = 0, len(body)
        while start < size:
            length = min(size - start, self._largest_frame, room)
            if length <= 0:
                self._waiting[stream] = (body[start:], trailers)
                break
            room -= length
            ends = start + length == size and not trailers
            head = frames.HEAD.pack(length >> 8, length & 0xFF, frames.DATA, frames.END_STREAM if ends else 0, stream)
            self._out += (head, body[start : start + length])
            start += length
        else:
            if trailers:
                self.send_headers(stream, trailers, end=True)
        self._room -= start
        self._rooms[stream] -= start
        if stream not in self._partial and stream not in self._waiting:
            del self._rooms[stream]


def _check(stream: bool = True, *, length: bool = True) -> None:
    if not length:
        raise ConnectionFailure(Reset.FRAME_SIZE_ERROR, "a frame has the wrong size")
    if not stream:
        raise ConnectionFailure(Reset.PROTOCOL_ERROR, "a frame is on the wrong stream")


def _unpadded(payload: bytes) -> bytes:
    if not payload or payload[0] >= len(payload):
        raise ConnectionFailure(Reset.PROTOCOL_ERROR, "there is more padding than frame")
    return payload[1 : len(payload) - payload[0]]
