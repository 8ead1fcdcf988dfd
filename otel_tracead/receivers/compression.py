"""Request bodies out of their `Content-Encoding`, never beyond the size limit whatever the sender packed."""

import zlib
from collections.abc import Callable, Sequence
from typing import Final

import cramjam
import zstandard

from otel_tracead.errors import InvalidRequest, TooLarge

_GZIP: Final = 31
_ZLIB: Final = 15
_RAW_DEFLATE: Final = -15
# One block of zstd is at least 4 bytes and at most 128 KiB of output: this bounds what one step can put out.
_ZSTD_STEP: Final = 512
_ZSTD_WINDOW: Final = 1 << 25
# Spans differ in some 30 bytes of ids and times: real requests shrink to a tenth, and to a thousandth where each span holds the
# same long stack trace. What shrinks to less than a ten-thousandth, as only Zstandard can, is made to cost much.
_LARGEST_RATIO: Final = 10_000
_SMALL: Final = 1 << 20

_SNAPPY_FRAMES: Final = b"\xff\x06\x00\x00sNaPpY"
_LONGEST_VARINT: Final = 5


def decompress(encoding: str, body: bytes, limit: int, allowed: Sequence[str] | None = None) -> bytes:
    """Give *body* decoded from *encoding* (a `Content-Encoding`; empty and `identity` leave it as it is).

    Args:
        encoding: as the sender wrote it.
        body: as it came.
        limit: bytes.
        allowed: the encodings that are taken; None for all that are known.

    Raises:
        InvalidRequest: the encoding is unknown or not allowed, or the body is not what it says.
        TooLarge: the body has more than *limit* bytes, before or after, or after more than 1 MiB and ten thousand times what it
            has before.
    """
    if len(body) > limit:
        raise too_large(limit)
    name = encoding.strip().lower().replace("identity", "")
    decoder = _DECODERS.get(name)
    if decoder is None or (allowed is not None and name not in allowed):
        known = ", ".join(name for name in (_DECODERS if allowed is None else allowed) if name)
        raise InvalidRequest(f"unsupported Content-Encoding: {encoding[:40]!r} (supported: {known})")
    most = min(limit, max(_SMALL, _LARGEST_RATIO * len(body)))
    try:
        return decoder(body, most)
    except TooLarge:
        if most == limit:
            raise
        raise TooLarge(f"request body too large: it unpacks to more than {_LARGEST_RATIO} times its size") from None
    except (zlib.error, zstandard.ZstdError, cramjam.DecompressionError) as error:
        raise InvalidRequest(f"the body is not valid {encoding}: {error}") from error


def too_large(limit: int) -> TooLarge:
    """Make the error for a body over *limit* bytes."""
    return TooLarge(f"request body too large: the limit is {limit} bytes, before and after decompression")


def _inflate(body: bytes, limit: int, wbits: int) -> bytes:
    """Inflate *body*; a gzip body may be of several members (RFC 1952)."""
    parts: list[bytes] = []
    size = 0
    while True:
        decoder = zlib.decompressobj(wbits)
        part = decoder.decompress(body, limit - size + 1)
        size += len(part)
        if size > limit:
            raise too_large(limit)
        parts.append(part)
        if not decoder.eof:
            raise InvalidRequest("the compressed body ends too early")
        body = decoder.unused_data
        if not body:
            return b"".join(parts)
        if wbits != _GZIP:
            raise InvalidRequest("the compressed body goes on after its end")


def _gunzip(body: bytes, limit: int) -> bytes:
    return _inflate(body, limit, _GZIP)


def _inflate_zlib(body: bytes, limit: int) -> bytes:
    return _inflate(body, limit, _ZLIB)


def _inflate_either(body: bytes, limit: int) -> bytes:
    """Inflate what HTTP calls deflate: zlib (RFC 9110), or the raw form that many send."""
    wrapped = len(body) >= 2 and body[0] & 0x0F == 8 and (body[0] << 8 | body[1]) % 31 == 0
    return _inflate(body, limit, _ZLIB if wrapped else _RAW_DEFLATE)


def _unzstd(body: bytes, limit: int) -> bytes:
    parts: list[bytes] = []
    size = start = 0
    decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
    while start < len(body):
        decoder = decompressor.decompressobj()
        while not decoder.eof:
            if start >= len(body):
                raise InvalidRequest("the compressed body ends too early")
            part = decoder.decompress(body[start : start + _ZSTD_STEP])
            start += _ZSTD_STEP
            size += len(part)
            if size > limit:
                raise too_large(limit)
            parts.append(part)
        start = min(start, len(body)) - len(decoder.unused_data)
    return b"".join(parts)


def _uncram(unpack: Callable[[bytes, bytearray], int]) -> Callable[[bytes, int], bytes]:
    """Make a decoder of *unpack*, which fills a buffer and stops where it is full."""

    def decode(body: bytes, limit: int) -> bytes:
        buffer = bytearray(limit + 1)  # the pages that nothing is written to cost nothing
        try:
            size = unpack(body, buffer)
        except cramjam.DecompressionError as error:
            if "write whole buffer" in str(error):
                raise too_large(limit) from error
            raise
        if size > limit:
            raise too_large(limit)
        return bytes(memoryview(buffer)[:size])

    return decode


_unsnappy_frames: Final = _uncram(cramjam.snappy.decompress_into)
_unlz4: Final = _uncram(cramjam.lz4.decompress_into)


def _unsnappy(body: bytes, limit: int) -> bytes:
    """Decode what is called snappy: one block, or the frames that Collectors before 0.126 called so."""
    if body.startswith(_SNAPPY_FRAMES):
        return _unsnappy_frames(body, limit)
    if not body:
        raise InvalidRequest("the compressed body ends too early")
    if cramjam.snappy.decompress_raw_len(body[:_LONGEST_VARINT]) > limit:
        raise too_large(limit)
    return bytes(cramjam.snappy.decompress_raw(body))


def _identity(body: bytes, _limit: int) -> bytes:
    return body


_DECODERS: Final[dict[str, Callable[[bytes, int], bytes]]] = {
    "": _identity,
    "gzip": _gunzip,
    "deflate": _inflate_either,
    "zlib": _inflate_zlib,
    "zstd": _unzstd,
    "snappy": _unsnappy,
    "x-snappy-framed": _unsnappy_frames,
    "lz4": _unlz4,
}
