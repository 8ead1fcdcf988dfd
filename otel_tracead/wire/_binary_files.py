"""OTLP protobuf files: plain, or as messages with a 4-byte big-endian length before each."""

import struct
from collections.abc import Iterator
from io import BufferedReader, BytesIO

import zstandard

from otel_tracead.errors import InvalidRequest
from otel_tracead.wire import otlp, otlp_json
from otel_tracead.wire._sources import LIMIT, ZSTD_MAGIC, FileProblem, largest_unpacked, unzstd
from otel_tracead.wire._writer import delimited
from otel_tracead.wire.batch import SpanBatch
from otel_tracead.wire.otlp import Envelopes

_LENGTH = struct.Struct(">I")
_RESOURCE_SPANS = 0x0A  # tag of the one field of a request
_FIELDS = (b"\x0a", b"\x12", b"\x1a")  # tags of the fields of resource spans
_CUT = "if the file was cut, get it again"


def is_framed(head: bytes) -> bool:
    """Tell whether a file starts with a length and what a message starts with (OTLP, JSON or Zstandard)."""
    if len(head) < _LENGTH.size or _LENGTH.unpack_from(head)[0] > LIMIT or _is_request(head):
        return False
    message = head[_LENGTH.size :]
    if not _LENGTH.unpack_from(head)[0]:
        return not message or is_framed(message)
    return message[:1] in (b"\n", b"{") or message.startswith(ZSTD_MAGIC)


def _is_request(head: bytes) -> bool:
    """Tell whether a file starts with resource spans and one of their fields; as a length that would be 160 MiB and more."""
    end = next((index for index in range(1, min(len(head), 6)) if head[index] < 0x80), len(head))
    return head[:1] == b"\n" and head[end + 1 : end + 2] in _FIELDS


def is_plain(head: bytes) -> bool:
    """Tell whether a file starts as an `ExportTraceServiceRequest` (or `TracesData`) does."""
    return head[0] == _RESOURCE_SPANS


def read_framed(stream: BufferedReader, envelopes: Envelopes) -> Iterator[tuple[int, SpanBatch]]:
    """Give (byte, batch) of each message. Raises `FileProblem` after the last good one."""
    byte = 0
    while header := stream.read(_LENGTH.size):
        if len(header) < _LENGTH.size:
            raise FileProblem(f"ends in the middle of a message's length; {_CUT}", byte=byte)
        (size,) = _LENGTH.unpack(header)
        if size > LIMIT:
            raise FileProblem(f"a message of {size} bytes, more than {LIMIT >> 20} MiB; {_CUT}", byte=byte)
        message = stream.read(size)
        if len(message) < size:
            raise FileProblem(f"ends after {len(message)} of a message's {size} bytes; {_CUT}", byte=byte)
        try:
            yield byte, _decode(message, envelopes)
        except (InvalidRequest, EOFError, zstandard.ZstdError) as error:
            raise FileProblem(f"{error}; {_CUT}", byte=byte) from error
        byte += _LENGTH.size + size


def _decode(message: bytes, envelopes: Envelopes) -> SpanBatch:
    if message.startswith(ZSTD_MAGIC):
        parts, size, most = [], 0, min(LIMIT, largest_unpacked(len(message)))
        for part in unzstd(BytesIO(message)):
            parts.append(part)
            size += len(part)
            if size > most:
                raise InvalidRequest(f"a message of more than {most >> 20} MiB after decompression")
        message = b"".join(parts)
    if message.startswith(b"{"):
        return otlp_json.decode_request(message, envelopes)
    return otlp.decode_request(message, envelopes)


def read_plain(stream: BufferedReader, envelopes: Envelopes) -> Iterator[tuple[int, SpanBatch]]:
    """Give (byte, batch) of each `ResourceSpans` of one message. Raises `FileProblem` after the last good one."""
    byte = 0
    while stream.peek(1):
        start = byte
        tag, taken = _varint(stream, start)
        if tag & 7 != 2:
            raise FileProblem("no OTLP protobuf: a field that no ExportTraceServiceRequest has", byte=start)
        size, more = _varint(stream, start)
        if size > LIMIT:
            raise FileProblem(f"resource spans of {size} bytes, more than {LIMIT >> 20} MiB; {_CUT}", byte=start)
        payload = stream.read(size)
        if len(payload) < size:
            raise FileProblem(f"ends after {len(payload)} of the {size} bytes of resource spans; {_CUT}", byte=start)
        byte += taken + more + size
        if tag == _RESOURCE_SPANS:
            try:
                yield start, otlp.decode_request(delimited(b"\x0a", payload), envelopes)
            except InvalidRequest as error:
                raise FileProblem(f"{error}; {_CUT}", byte=start) from error


def _varint(stream: BufferedReader, start: int) -> tuple[int, int]:
    value = taken = 0
    while taken < 10:
        byte = stream.read(1)
        if not byte:
            raise FileProblem(f"ends in the middle of a length; {_CUT}", byte=start)
        value |= (byte[0] & 0x7F) << 7 * taken
        taken += 1
        if byte[0] < 0x80:
            return value, taken
    raise FileProblem("no OTLP protobuf: a length without an end", byte=start)
