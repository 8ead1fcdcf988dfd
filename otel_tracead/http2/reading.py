"""Cuts the bytes of an HTTP/2 connection into frames, and joins blocks of headers. Source: RFC 9113, sections 3.4, 4 and 6.10."""

from collections.abc import Callable, Mapping
from typing import Final

from otel_tracead.http2 import frames
from otel_tracead.http2.frames import ConnectionFailure, Reset
from otel_tracead.http2.headers import LARGEST_HEADERS

_MOST_CONTINUATIONS: Final = 64
_OF_HEADERS: Final = (frames.HEADERS, frames.CONTINUATION)

Hear = Callable[[int, int, bytes], None]
"""Hears of a frame: its flags, stream and payload."""


class FrameReader:
    """Reads what comes, however it is cut.

    Args:
        preface: what the other side begins with, before its first frame.
        kinds: who hears of which kind of frame; of `HEADERS` as one whole block without padding.
        unknown: who hears of all others.

    Attributes:
        greeted: whether it has begun as HTTP/2 begins.
    """

    def __init__(self, preface: bytes, kinds: Mapping[int, Hear], unknown: Hear) -> None:
        self.greeted = False
        self._preface = preface
        self._kinds = kinds
        self._unknown = unknown
        self._rest = b""
        self._block: tuple[int, int, bytearray] | None = None
        self._continuations = 0

    def read(self, data: bytes) -> None:
        """Tell of the frames that end in *data*.

        Raises:
            ConnectionFailure: the connection cannot go on.
        """
        if self._rest:
            data = self._rest + data
        position = 0
        if self._preface:
            position = self._past_preface(data)
            if not position:
                self._rest = data
                return
        size = len(data)
        while size - position >= frames.HEAD_SIZE:
            high, low, kind, flags, number = frames.HEAD.unpack_from(data, position)
            length = high << 8 | low
            if length > frames.SMALLEST_FRAME:
                raise ConnectionFailure(Reset.FRAME_SIZE_ERROR, f"a frame of {length} bytes is too large")
            end = position + frames.HEAD_SIZE + length
            if end > size:
                break
            payload = data[position + frames.HEAD_SIZE : end]
            position = end
            if not self.greeted:
                self._greet(kind, flags)
            number &= frames.LARGEST_STREAM
            if kind in _OF_HEADERS or self._block is not None:
                self._join(kind, flags, number, payload)
            else:
                self._kinds.get(kind, self._unknown)(flags, number, payload)
        self._rest = data[position:]

    def _past_preface(self, data: bytes) -> int:
        """Say where frames begin; 0 if the preface has not come whole."""
        begun = data[: len(self._preface)]
        if not self._preface.startswith(begun):
            raise ConnectionFailure(Reset.PROTOCOL_ERROR, "this is not HTTP/2")
        if len(begun) < len(self._preface):
            return 0
        self._preface = b""
        return len(begun)

    def _greet(self, kind: int, flags: int) -> None:
        if kind != frames.SETTINGS or flags & frames.ACK:
            raise ConnectionFailure(Reset.PROTOCOL_ERROR, "a connection begins with SETTINGS")
        self.greeted = True

    def _join(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        if self._block is None:
            if kind == frames.CONTINUATION or number == 0:
                raise ConnectionFailure(
                    Reset.PROTOCOL_ERROR, "there are no headers to continue, or they have no stream"
                )
            if flags & (frames.PADDED | frames.WITH_PRIORITY):
                payload = _fragment(flags, payload)
            if flags & frames.END_HEADERS:
                self._kinds[frames.HEADERS](flags, number, payload)
            else:
                self._block, self._continuations = (flags, number, bytearray(payload)), 0
            return
        begun, stream, block = self._block
        if kind != frames.CONTINUATION or number != stream:
            raise ConnectionFailure(Reset.PROTOCOL_ERROR, "a block of headers was not finished")
        self._continuations += 1
        block += payload
        if self._continuations > _MOST_CONTINUATIONS or len(block) > LARGEST_HEADERS:
            raise ConnectionFailure(Reset.ENHANCE_YOUR_CALM, "the headers are too large")
        if flags & frames.END_HEADERS:
            self._block = None
            self._kinds[frames.HEADERS](begun, stream, bytes(block))


def unpadded(payload: bytes) -> bytes:
    """Take the padding off.

    Raises:
        ConnectionFailure: there is more of it than of the payload.
    """
    if not payload or payload[0] >= len(payload):
        raise ConnectionFailure(Reset.PROTOCOL_ERROR, "there is more padding than frame")
    return payload[1 : len(payload) - payload[0]]


def _fragment(flags: int, payload: bytes) -> bytes:
    if flags & frames.PADDED:
        payload = unpadded(payload)
    if flags & frames.WITH_PRIORITY:
        if len(payload) < frames.PRIORITY_SIZE:
            raise ConnectionFailure(Reset.FRAME_SIZE_ERROR, "a frame has the wrong size")
        payload = payload[frames.PRIORITY_SIZE :]
    return payload
