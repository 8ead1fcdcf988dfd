"""The half of an HTTP/2 connection that sends: frames to be sent, and bodies that wait for room at the other side. Source: RFC 9113."""

from typing import Final

from otel_tracead.http2 import frames
from otel_tracead.http2.frames import ConnectionFailure, Reset

_MOST_ABANDONED: Final = 1000
# A table of no bytes (RFC 7541, section 6.3): said before the next block to a side that changed how large its table may be.
NO_TABLE: Final = b"\x20"


class Stream:
    """One stream, as long as one of the two sides has not ended it.

    Attributes:
        number: of the stream.
        room: what may be sent, less what all streams begin with (so that a setting changes all of them at once).
        taken: bytes that came since we last said how many more may.
        left: bytes of the body that are still to come, if the headers say so.
        begun: whether the other side's headers have come.
        ended: whether the other side has ended it.
        done: whether we have.
    """

    __slots__ = ("begun", "done", "ended", "left", "number", "room", "taken")

    def __init__(self, number: int, left: int | None, begun: bool, ended: bool) -> None:
        self.number = number
        self.room = 0
        self.taken = 0
        self.left = left
        self.begun = begun
        self.ended = ended
        self.done = False


class Sending:
    """Collects what is to be sent.

    Args:
        greeting: the first of that.
    """

    def __init__(self, greeting: bytes) -> None:
        self._out: list[bytes | memoryview] = [greeting]
        self._streams: dict[int, Stream] = {}
        self._abandoned: dict[int, None] = {}
        self._waiting: dict[int, tuple[Stream, memoryview, bytes]] = {}
        self._room = frames.DEFAULT_WINDOW
        self._stream_room = frames.DEFAULT_WINDOW
        self._widest = 0
        self._largest_frame = frames.SMALLEST_FRAME
        self._before_block = b""
        self._wasted = 0

    @property
    def waiting(self) -> int:
        """How many bodies wait for room at the other side."""
        return len(self._waiting)

    def take(self) -> bytes:
        """Give what is to be sent."""
        out = b"".join(self._out)
        self._out.clear()
        return out

    def send_headers(self, number: int, block: bytes, *, end: bool = False) -> None:
        """Send a block of headers (see `header_block`) on a stream that is open; *end*: and nothing behind it."""
        if self._before_block:
            block, self._before_block = self._before_block + block, b""
        flags = frames.END_STREAM if end else 0
        largest = self._largest_frame
        if len(block) <= largest:
            self._out.append(frames.frame(frames.HEADERS, flags | frames.END_HEADERS, number, block))
        else:
            self._out.append(frames.frame(frames.HEADERS, flags, number, block[:largest]))
            for start in range(largest, len(block), largest):
                last = frames.END_HEADERS if start + largest >= len(block) else 0
                self._out.append(frames.frame(frames.CONTINUATION, last, number, block[start : start + largest]))
        if end:
            self._done(self._streams[number])

    def send_body(self, number: int, body: bytes, trailers: bytes = b"") -> None:
        """Send *body*, which is not empty, and what ends the stream (the block *trailers*, if any), as soon as there is room."""
        self._send_some(self._streams[number], memoryview(body), trailers)

    def reset(self, number: int, code: Reset) -> None:
        """End a stream in both directions, if it is open, and forget it; what still comes on it is let go by."""
        stream = self._streams.pop(number, None)
        if stream is not None:
            self._waiting.pop(number, None)
            self._refuse(number, code, ended=stream.ended)

    def send_ping(self) -> None:
        """Ask whether the other side is there."""
        self._out.append(frames.frame(frames.PING, 0, 0, bytes(8)))

    def send_goaway(self, last: int, code: Reset, text: str = "") -> None:
        """Say that no stream after *last* is looked at."""
        self._out.append(frames.goaway(last, code, text))

    def _refuse(self, number: int, code: Reset, *, ended: bool) -> None:
        self._out.append(frames.frame(frames.RST_STREAM, 0, number, frames.NUMBER.pack(code)))
        if not ended:
            self._abandoned[number] = None
            if len(self._abandoned) > _MOST_ABANDONED:
                del self._abandoned[next(iter(self._abandoned))]

    def _done(self, stream: Stream) -> None:
        stream.done = True
        if stream.ended:
            self._over(stream)

    def _over(self, stream: Stream) -> None:
        """Forget a stream that came to its end on both sides: what came was of use."""
        del self._streams[stream.number]
        self._wasted = 0

    def _send_waiting(self) -> None:
        for number, (stream, body, trailers) in tuple(self._waiting.items()):
            if self._room <= 0:
                break
            if self._stream_room + stream.room > 0:
                del self._waiting[number]
                self._send_some(stream, body, trailers)

    def _send_some(self, stream: Stream, body: memoryview, trailers: bytes) -> None:
        number = stream.number
        room = min(self._room, self._stream_room + stream.room)
        start, size = 0, len(body)
        while start < size:
            length = min(size - start, self._largest_frame, room - start)
            if length <= 0:
                self._waiting[number] = (stream, body[start:], trailers)
                break
            ends = start + length == size and not trailers
            head = frames.HEAD.pack(length >> 8, length & 0xFF, frames.DATA, frames.END_STREAM if ends else 0, number)
            self._out += (head, body[start : start + length])
            start += length
        self._room -= start
        stream.room -= start
        if start == size:
            if trailers:
                self.send_headers(number, trailers, end=True)
            else:
                self._done(stream)

    def _widen(self, stream: Stream, room: int) -> bool:
        """Let *room* more bytes be sent on *stream*; False where no window can be so large."""
        stream.room += room
        self._widest = max(self._widest, stream.room)
        return self._stream_room + stream.room <= frames.LARGEST_WINDOW

    def _set_stream_room(self, room: int) -> None:
        """Let all streams begin with *room* bytes.

        Raises:
            ConnectionFailure: no window can be so large.
        """
        largest = frames.LARGEST_WINDOW - room
        # Looks at the streams only where one of them, perhaps a former one, had so much: settings cost the same with 1000 open.
        if largest < 0 or (self._widest > largest and any(one.room > largest for one in self._streams.values())):
            raise ConnectionFailure(Reset.FLOW_CONTROL_ERROR, f"no window has {room} bytes")
        self._stream_room = room
