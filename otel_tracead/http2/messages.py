"""gRPC on top of HTTP/2: messages in bodies, statuses in trailers. Source: gRPC's PROTOCOL-HTTP2.md."""

import re
from base64 import b64decode, b64encode
from binascii import Error
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from otel_tracead.http2.headers import header_block

PREFIX_SIZE: Final = 5
_DETAILS: Final = b"grpc-status-details-bin"
_OK: Final = 0
_UNKNOWN: Final = 2
_HIGHEST: Final = 16
_LONGEST_MESSAGE: Final = 4096
_HEX: Final = re.compile(rb"%([0-9A-Fa-f]{2})")
_ESCAPED: Final = re.compile(rb"[^\x20-\x24\x26-\x7e]")

# What the HTTP status means where something else than gRPC answers (http-grpc-status-mapping.md).
_FROM_HTTP: Final = {b"400": 13, b"401": 16, b"403": 7, b"404": 12, b"429": 14, b"502": 14, b"503": 14, b"504": 14}

RESPONSE: Final = header_block(((b":status", b"200"), (b"content-type", b"application/grpc")))
"""The headers before a message."""
SUCCESS: Final = header_block(((b"grpc-status", b"0"),))
"""The trailers after it."""


@dataclass(frozen=True, slots=True)
class Status:
    """How a call ended.

    Attributes:
        code: of gRPC.
        message: for people.
        details: an encoded `google.rpc.Status`, or nothing.
    """

    code: int
    message: str = ""
    details: bytes = b""

    def trailers_only(self) -> bytes:
        """Encode the headers of an answer without a message."""
        text = _ESCAPED.sub(lambda found: b"%%%02X" % found[0][0], self.message.encode()[:_LONGEST_MESSAGE])
        fields = [(b":status", b"200"), (b"content-type", b"application/grpc"), (b"grpc-status", b"%d" % self.code)]
        if text:
            fields.append((b"grpc-message", text))
        if self.details:
            fields.append((_DETAILS, b64encode(self.details).rstrip(b"=")))
        return header_block(fields)

    @staticmethod
    def read(headers: Iterable[tuple[bytes, bytes]]) -> "Status":
        """Read the status that stands in trailers, or what the HTTP status means where none does."""
        fields = dict(headers)
        code = fields.get(b"grpc-status")
        if code is None:
            http = fields.get(b":status", b"")
            return Status(
                _FROM_HTTP.get(http, _UNKNOWN), f"the answer is not gRPC's (HTTP {http[:3].decode('latin-1')})"
            )
        known = code.isdigit() and len(code) <= 2 and int(code) <= _HIGHEST
        message = _HEX.sub(lambda found: bytes((int(found[1], 16),)), fields.get(b"grpc-message", b""))
        return Status(
            int(code) if known else _UNKNOWN, message.decode("utf-8", "replace"), _unpacked(fields.get(_DETAILS, b""))
        )


def pack(message: bytes, *, compressed: bool = False) -> bytes:
    """Put *message* behind its prefix."""
    return (b"\1" if compressed else b"\0") + len(message).to_bytes(4, "big") + message


def unpack(body: bytes) -> tuple[bytes, bool] | None:
    """Give the first message of *body*, and whether it is compressed; None where there is no whole one."""
    end = PREFIX_SIZE + int.from_bytes(body[1:PREFIX_SIZE], "big")
    return (body[PREFIX_SIZE:end], body[0] == 1) if PREFIX_SIZE <= len(body) >= end else None


def _unpacked(value: bytes) -> bytes:
    try:
        return b64decode(value.partition(b",")[0] + b"==")
    except Error:
        return b""
