"""Compressed bodies: what comes out of any of them is bounded, and is what another reader gets out of it."""

import gzip
import io
import random
import zlib
from collections.abc import Callable
from typing import Final

import cramjam
import zstandard

from fuzz import mutation, samples
from fuzz.target import Finding, Target
from fuzz.targets.oracles import holds
from otel_tracead.errors import InvalidRequest, TooLarge
from otel_tracead.receivers.compression import decompress
from otel_tracead.wire import otlp

_LIMIT: Final = 4 << 20
_SMALL: Final = 1 << 20
_RATIO: Final = 10_000
_ENCODINGS: Final = (
    "gzip",
    "zlib",
    "deflate",
    "zstd",
    "snappy",
    "x-snappy-framed",
    "lz4",
    "",
    "identity",
    "GZIP ",
    "br",
)


def _unzstd(body: bytes) -> bytes:
    return zstandard.ZstdDecompressor().stream_reader(io.BytesIO(body), read_across_frames=True).read()


_OTHERS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "gzip": gzip.decompress,
    "zlib": zlib.decompress,
    "zstd": _unzstd,
    "x-snappy-framed": lambda body: bytes(cramjam.snappy.decompress(body)),
    "lz4": lambda body: bytes(cramjam.lz4.decompress(body)),
}
_PACKERS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "gzip": gzip.compress,
    "zlib": zlib.compress,
    "deflate": lambda body: zlib.compress(body, wbits=-15),
    "zstd": zstandard.ZstdCompressor().compress,
    "snappy": lambda body: bytes(cramjam.snappy.compress_raw(body)),
    "x-snappy-framed": lambda body: bytes(cramjam.snappy.compress(body)),
    "lz4": lambda body: bytes(cramjam.lz4.compress(body)),
}


def _run(data: bytes) -> None:
    encoding, body = _ENCODINGS[data[0] % len(_ENCODINGS)] if data else "", data[1:]
    try:
        unpacked = decompress(encoding, body, _LIMIT)
    except TooLarge:
        return
    except InvalidRequest:
        return
    if len(unpacked) > min(_LIMIT, max(_SMALL, _RATIO * len(body))):
        raise Finding(f"{len(unpacked)} bytes came out of {len(body)}")
    other = _OTHERS.get(encoding)
    if other is not None and body:
        holds(unpacked, other(body), f"what comes out of {encoding}")
    try:
        otlp.decode_request(unpacked, otlp.Envelopes())
    except InvalidRequest:
        return


def _mutate(data: bytes, choice: random.Random) -> bytes:
    """Change the compressed bytes, or what is in them."""
    if not data or choice.random() < 0.5:
        return mutation.any_bytes(data, choice)
    name = _ENCODINGS[data[0] % len(_ENCODINGS)]
    try:
        plain = decompress(name, data[1:], 1 << 16)
    except InvalidRequest:
        return mutation.any_bytes(data, choice)
    changed = mutation.protobuf(plain, choice) * choice.choice((1, 1, 1, 3, 100))
    name = choice.choice(list(_PACKERS))
    parts = [_PACKERS[name](part) for part in ((changed,) if choice.random() < 0.8 else (changed[:9], changed[9:]))]
    return bytes((_ENCODINGS.index(name),)) + b"".join(parts)


def _seeds() -> list[bytes]:
    plain = samples.request()
    found = [bytes((_ENCODINGS.index(name),)) + pack(plain) for name, pack in _PACKERS.items()]
    bombs = [bytes((_ENCODINGS.index(name),)) + pack(bytes(5 << 20)) for name, pack in _PACKERS.items()]
    return [*found, *(bomb for bomb in bombs if len(bomb) < 16384), bytes((_ENCODINGS.index(""),)) + plain]


BODIES: Final = Target(
    name="bodies",
    what="compressed bodies; bounded, and against other readers of gzip, zlib, Zstandard, snappy and LZ4",
    run=_run,
    seeds=_seeds,
    mutate=_mutate,
)
