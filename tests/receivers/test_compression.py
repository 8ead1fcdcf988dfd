import gzip
import os
import tracemalloc
import zlib
from contextlib import suppress

import cramjam
import pytest
import zstandard
from hypothesis import assume, given
from hypothesis import strategies as st

from otel_tracead.errors import InvalidRequest, TooLarge
from otel_tracead.receivers.compression import decompress
from tests.receivers import samples


def raw_deflate(body: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(body) + compressor.flush()


def streamed_zstd(body: bytes) -> bytes:
    compressor = zstandard.ZstdCompressor().compressobj()
    return compressor.compress(body) + compressor.flush()


FORMS = {
    "gzip": [gzip.compress, lambda body: gzip.compress(body[:3]) + gzip.compress(body[3:])],
    "deflate": [zlib.compress, raw_deflate],
    "zlib": [zlib.compress],
    "snappy": [
        lambda body: bytes(cramjam.snappy.compress_raw(body)),
        lambda body: bytes(cramjam.snappy.compress(body)),
    ],
    "x-snappy-framed": [lambda body: bytes(cramjam.snappy.compress(body))],
    "lz4": [lambda body: bytes(cramjam.lz4.compress(body))],
    "zstd": [zstandard.compress, streamed_zstd, lambda body: zstandard.compress(body[:3]) + streamed_zstd(body[3:])],
}
ENDLESS = "x-snappy-framed"  # has no end of its own: a part of it may be whole
CASES = [(encoding, index) for encoding, forms in FORMS.items() for index in range(len(forms))]


@given(st.binary(max_size=3000) | st.binary(max_size=30).map(lambda part: part * 1000), st.sampled_from(CASES))
def test_what_was_packed_comes_out(body: bytes, case: tuple[str, int]) -> None:
    assume(body or case != ("snappy", 1))  # frames of nothing are no frames
    packed = FORMS[case[0]][case[1]](body)
    assert decompress(case[0].upper(), packed, max(len(body), len(packed))) == body


@given(st.binary(max_size=200), st.sampled_from(sorted(FORMS)))
def test_anything_else_is_an_invalid_request(body: bytes, encoding: str) -> None:
    with suppress(InvalidRequest):
        decompress(encoding, body, 10_000)


@given(st.binary(min_size=1, max_size=300), st.sampled_from(CASES), st.data())
def test_a_part_is_refused(body: bytes, case: tuple[str, int], data: st.DataObject) -> None:
    assume(case[0] != ENDLESS)
    packed = FORMS[case[0]][0](body)
    part = packed[: data.draw(st.integers(1, len(packed) - 1))]
    with pytest.raises(InvalidRequest):
        decompress(case[0], part, 10_000)


@pytest.mark.parametrize("encoding", FORMS)
def test_a_bomb_is_stopped_within_bounds(encoding: str) -> None:
    for form in FORMS[encoding]:
        bomb = form(bytes(10 << 20))
        assert len(bomb) < 1 << 20
        tracemalloc.start()
        try:
            with pytest.raises(TooLarge):
                decompress(encoding, bomb, 1 << 20)
            assert tracemalloc.get_traced_memory()[1] < 32 << 20
        finally:
            tracemalloc.stop()


def test_the_limit_is_exact_and_counts_before_too() -> None:
    for encoding in ("", "identity", *FORMS):
        packed = FORMS[encoding][0](bytes(1000)) if encoding in FORMS else bytes(1000)
        assert decompress(encoding, packed, 1000) == bytes(1000)
        with pytest.raises(TooLarge):
            decompress(encoding, packed, 999)
    with pytest.raises(TooLarge):
        decompress("gzip", bytes(11), 10)


def test_an_unknown_encoding_names_the_known_ones() -> None:
    with pytest.raises(InvalidRequest, match="gzip, deflate, zlib, zstd, snappy, x-snappy-framed, lz4"):
        decompress("br", b"", 10)


def test_only_what_is_allowed_is_taken() -> None:
    allowed = ("", "gzip")
    assert decompress("gzip", gzip.compress(b"a"), 100, allowed) == b"a"
    assert decompress("identity", b"a", 10, allowed) == b"a"
    with pytest.raises(InvalidRequest, match=r"unsupported Content-Encoding: 'zstd' \(supported: gzip\)"):
        decompress("zstd", b"a", 10, allowed)
    with pytest.raises(InvalidRequest, match="unsupported"):
        decompress("", b"a", 10, ("gzip",))


def test_snappy_frames_are_checked_for_their_checksums() -> None:
    packed = bytearray(cramjam.snappy.compress(b"spans" * 100))
    packed[-1] ^= 1
    with pytest.raises(InvalidRequest):
        decompress("x-snappy-framed", bytes(packed), 10_000)


@pytest.mark.parametrize("encoding", FORMS)
def test_what_shrinks_to_nearly_nothing_is_refused_unless_it_is_small(encoding: str) -> None:
    large, small = bytes(20 << 20), bytes(1 << 20)
    for form in FORMS[encoding]:
        packed = form(large)
        if len(packed) * 10_000 < len(large):
            with pytest.raises(TooLarge, match="more than 10000 times its size"):
                decompress(encoding, packed, 64 << 20)
        else:
            assert decompress(encoding, packed, 64 << 20) == large
        assert decompress(encoding, form(small), 64 << 20) == small


def test_real_requests_are_far_from_that() -> None:
    """Spans that differ in nothing but their ids, each with a stack trace that is always the same."""
    spans = [samples.otlp(1, "a" * 20_000).replace(bytes(7) + b"\x01", os.urandom(8)) for _ in range(500)]
    for encoding in ("gzip", "zstd"):
        packed = FORMS[encoding][0](b"".join(spans))
        assert len(decompress(encoding, packed, 64 << 20)) == sum(map(len, spans))
