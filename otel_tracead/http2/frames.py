"""Frames of HTTP/2, as bytes. Source: RFC 9113, sections 4, 6 and 7."""

import struct
from collections.abc import Iterable
from enum import IntEnum
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)

END_STREAM: Final = 0x01
ACK: Final = 0x01
END_HEADERS: Final = 0x04
PADDED: Final = 0x08
WITH_PRIORITY: Final = 0x20

HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE = range(1, 6)
MAX_HEADER_LIST_SIZE: Final = 6

LARGEST_WINDOW: Final = (1 << 31) - 1
LARGEST_STREAM: Final = LARGEST_WINDOW
DEFAULT_WINDOW: Final = (1 << 16) - 1
SMALLEST_FRAME: Final = 1 << 14
LARGEST_FRAME: Final = (1 << 24) - 1

HEAD: Final = struct.Struct(">HBBBI")
"""The head of a frame: its length (16 bits and 8), kind, flags, stream."""
HEAD_SIZE: Final = HEAD.size
NUMBER: Final = struct.Struct(">I")
SETTING: Final = struct.Struct(">HI")
PING_SIZE: Final = 8
PRIORITY_SIZE: Final = 5


class Reset(IntEnum):
    """Why a stream or a connection ends (RFC 9113, section 7)."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    SETTINGS_TIMEOUT = 4
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    CONNECT_ERROR = 10
    ENHANCE_YOUR_CALM = 11
    INADEQUATE_SECURITY = 12
    HTTP_1_1_REQUIRED = 13


class ConnectionFailure(Exception):  # noqa: N818 (what became of the connection)
    """The other side broke the rules, or asks too much; the connection ends with `GOAWAY`.

    Attributes:
        code: said to it.
    """

    def __init__(self, code: Reset, message: str) -> None:
        super().__init__(message)
        self.code = code


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Write one frame."""
    length = len(payload)
    return HEAD.pack(length >> 8, length & 0xFF, kind, flags, stream) + payload


def settings(values: Iterable[tuple[int, int]]) -> bytes:
    """Write a `SETTINGS` frame of (identifier, value)."""
    return frame(SETTINGS, 0, 0, b"".join(SETTING.pack(*pair) for pair in values))


def window_update(stream: int, room: int) -> bytes:
    """Write a `WINDOW_UPDATE` frame: *room* more bytes may come."""
    return frame(WINDOW_UPDATE, 0, stream, NUMBER.pack(room))


def goaway(last: int, code: int, text: str = "") -> bytes:
    """Write a `GOAWAY` frame: no stream after *last* was or will be looked at."""
    return frame(GOAWAY, 0, 0, NUMBER.pack(last) + NUMBER.pack(code) + text.encode())
