"""Blocks of headers: written without state; read, checked once, and remembered. Sources: RFC 7541; RFC 9113, sections 8.2 and 8.3."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from hpack import Decoder
from hpack.exceptions import HPACKDecodingError, HPACKError, OversizedHeaderListError
from hpack.table import table_entry_size

from otel_tracead.http2.frames import ConnectionFailure, Reset

_INDEXED: Final = 0x80
_LONG_NUMBER: Final = 0xFF  # more bytes of it follow
_KIND, _SIZE_UPDATE = 0xE0, 0x20

LARGEST_HEADERS: Final = 1 << 16
"""Bytes of a block, and of what it says."""
_MOST_REMEMBERED: Final = 64
_LONGEST_REMEMBERED: Final = 256

Headers = Sequence[tuple[bytes, bytes]]

_NAME: Final = re.compile(rb"[^\x00-\x20A-Z:\x7f-\xff]+")
_VALUE: Final = re.compile(rb"(?![ \t])[^\x00\r\n]*(?<![ \t])")
_LENGTH: Final = re.compile(rb"[0-9]{1,15}")
_STATUS: Final = re.compile(rb"[0-9]{3}")
_OF_ONE_CONNECTION: Final = {b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"}
_REQUEST: Final = {b":method", b":scheme", b":path"}
_RESPONSE: Final = {b":status"}
_OPTIONAL: Final[dict[bool, set[bytes]]] = {False: {b":authority"}, True: set()}

# Names and fields of the static table (RFC 7541, appendix A) that gRPC's headers have.
_STATIC_NAMES: Final = {
    b":authority": 1,
    b":path": 4,
    b":scheme": 6,
    b"authorization": 23,
    b"content-type": 31,
    b"user-agent": 58,
}
_STATIC_FIELDS: Final = {
    (b":method", b"POST"): b"\x83",
    (b":scheme", b"http"): b"\x86",
    (b":scheme", b"https"): b"\x87",
    (b":status", b"200"): b"\x88",
}


@dataclass(frozen=True, slots=True)
class Block:
    """What a block of headers says.

    Attributes:
        headers: in order.
        flaw: what makes them malformed; empty for nothing.
        begins: whether they begin a message; the others end one (trailers).
        interim: whether an answer is still to come behind this one (a status of 1xx).
        length: of the body, if they say so.
    """

    headers: Headers
    flaw: str = ""
    begins: bool = False
    interim: bool = False
    length: int | None = None


class HeaderReader:
    """Reads the blocks of one connection, in order.

    Args:
        client: which end reads.
    """

    def __init__(self, *, client: bool) -> None:
        self._client = client
        self._decoder = Decoder(LARGEST_HEADERS)
        self._known: dict[bytes, Block] = {}

    def read(self, block: bytes) -> Block:
        """Decode and check *block*.

        One that left the table as it was means the same until another one changes it: what a client or a server sends with each
        request is decoded and checked once (18 µs a request).

        Raises:
            ConnectionFailure: it cannot be decoded, or is too large.
        """
        known = self._known.get(block)
        if known is not None:
            return known
        before = self._table()
        try:
            read = checked(self._decode(block), client=self._client)
        except HPACKError as error:  # whose text may name an address of our memory
            raise ConnectionFailure(Reset.COMPRESSION_ERROR, "the headers cannot be read, or are too large") from error
        after = self._table()
        # A new entry is another object than the one that was the newest; nothing leaves the table but at its other end.
        if before[0] is not after[0] or before[1:] != after[1:] or len(self._known) >= _MOST_REMEMBERED:
            self._known.clear()
        elif len(block) <= _LONGEST_REMEMBERED:
            self._known[block] = read
        return read

    def _decode(self, block: bytes) -> Headers:
        """Decode *block*: what stands in the table is looked up here, which takes a tenth of the library's time.

        A Go client's deadline is another one with each request, and goes into the table: its block is never the same twice.
        """
        entry = self._decoder.header_table.get_by_index
        headers: list[tuple[bytes, bytes]] = []
        at = size = 0
        while at < len(block) and _INDEXED < block[at] < _LONG_NUMBER and size <= LARGEST_HEADERS:
            header = entry(block[at] - _INDEXED)
            size += table_entry_size(*header)
            headers.append(header)
            at += 1
        if at and block[at : at + 1] and block[at] & _KIND == _SIZE_UPDATE:
            raise HPACKDecodingError("a size of the table behind a field")
        rest = self._decoder.decode(block[at:], raw=True)
        for header in rest:
            size += table_entry_size(*header)
            headers.append(header)
        if size > LARGEST_HEADERS:
            raise OversizedHeaderListError("the fields are too large")
        return headers

    def _table(self) -> tuple[object, int, int]:
        """Give the newest entry of the table, the number of its entries, and how large it may become."""
        table = self._decoder.header_table
        entries = table.dynamic_entries
        return entries[0] if entries else None, len(entries), table.maxsize


def checked(headers: Headers, *, client: bool) -> Block:
    """Look whether *headers* may begin a request (a response at a *client*), or be trailers."""
    regular = False
    for name, value in headers:
        pseudo = name.startswith(b":")
        if (pseudo and regular) or not _is_field(name, value):
            return Block(headers, "a header has no place in HTTP/2, or not where it stands")
        regular = regular or not pseudo
    lengths = {value for name, value in headers if name == b"content-length"}
    if len(lengths) > 1 or not all(map(_LENGTH.fullmatch, lengths)):
        return Block(headers, "the content-length is none")
    names = [name for name, _ in headers if name.startswith(b":")]
    if not names:
        return Block(headers)
    needed = _RESPONSE if client else _REQUEST
    if len(set(names)) < len(names) or not needed <= set(names) <= needed | _OPTIONAL[client]:
        return Block(headers, "a pseudo-header is missing, unknown or doubled")
    begin = dict(headers[: len(names)])
    status = begin.get(b":status", b"200")
    if begin.get(b":path") == b"" or not _STATUS.fullmatch(status):
        return Block(headers, "a pseudo-header's value is none")
    length = int(lengths.pop()) if lengths else None
    return Block(headers, begins=True, interim=status.startswith(b"1"), length=length)


@lru_cache(maxsize=1 << 10)
def _is_usual(name: bytes, value: bytes) -> bool:
    return _is_allowed(name, value)


def _is_field(name: bytes, value: bytes) -> bool:
    """Say whether a field, or a pseudo-header, may stand in HTTP/2."""
    return _is_usual(name, value) if len(name) + len(value) <= _LONGEST_REMEMBERED else _is_allowed(name, value)


def _is_allowed(name: bytes, value: bytes) -> bool:
    if name in _OF_ONE_CONNECTION or (name == b"te" and value != b"trailers"):
        return False
    return (name.startswith(b":") or _NAME.fullmatch(name) is not None) and _VALUE.fullmatch(value) is not None


def header_block(fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Encode *fields* without state: no entry goes into the table of the other side, so a block may be sent again and again.

    That costs some 100 bytes more on the wire than a table would, and nothing at all when a request is made.
    """
    block = bytearray()
    for name, value in fields:
        known = _STATIC_FIELDS.get((name, value))
        if known is not None:
            block += known
            continue
        index = _STATIC_NAMES.get(name, 0)
        block += _integer(index, 4)
        if not index:
            block += _integer(len(name), 7) + name
        block += _integer(len(value), 7) + value
    return bytes(block)


def _integer(value: int, bits: int) -> bytes:
    """Encode an integer with a prefix of *bits* bits (RFC 7541, section 5.1); the bits above are zero."""
    most = (1 << bits) - 1
    if value < most:
        return bytes((value,))
    encoded = bytearray((most,))
    value -= most
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
