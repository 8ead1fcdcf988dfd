"""Blocks of headers: what is malformed, what is remembered, and what a block may cost."""

import time
from contextlib import suppress

import pytest
from hpack import Decoder
from hpack.exceptions import HPACKError
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_tracead.http2 import ConnectionFailure, Reset
from otel_tracead.http2.headers import LARGEST_HEADERS, HeaderReader, checked

GOOD = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/x"), (b":authority", b"a"), (b"te", b"trailers")]


def without(name: bytes) -> list[tuple[bytes, bytes]]:
    return [field for field in GOOD if field[0] != name]


MALFORMED = {
    "unknown": [(b":x", b"1"), *GOOD],
    "a response's": [(b":status", b"200"), *GOOD],
    "late": [*without(b":path"), (b":path", b"/x")],
    "doubled": [GOOD[0], *GOOD],
    "no method": without(b":method"),
    "no scheme": without(b":scheme"),
    "no path": without(b":path"),
    "an empty path": [*without(b":path")[:3], (b":path", b"")],
    "upper case": [*GOOD, (b"X-a", b"1")],
    "a space": [*GOOD, (b"x a", b"1")],
    "a colon": [*GOOD, (b"x:a", b"1")],
    "no name": [*GOOD, (b"", b"1")],
    "another alphabet": [*GOOD, (b"\xc3\xa4", b"1")],
    "connection": [*GOOD, (b"connection", b"close")],
    "transfer-encoding": [*GOOD, (b"transfer-encoding", b"chunked")],
    "te": [*without(b"te"), (b"te", b"gzip")],
    "a second line": [*GOOD, (b"x", b"1\r\nx: 2")],
    "nothing": [*GOOD, (b"x", b"1\0")],
    "space before": [*GOOD, (b"x", b" 1")],
    "tab behind": [*GOOD, (b"x", b"1\t")],
    "two lengths": [*GOOD, (b"content-length", b"1"), (b"content-length", b"2")],
    "a negative length": [*GOOD, (b"content-length", b"-1")],
    "a length without end": [*GOOD, (b"content-length", b"9" * 5000)],
}


@pytest.mark.parametrize("name", MALFORMED)
def test_what_is_malformed(name: str) -> None:
    assert checked(MALFORMED[name], client=False).flaw


def test_what_is_well_formed() -> None:
    request = checked([*GOOD, (b"x", b""), (b"y", b"1 2\xff"), (b"content-length", b"12")], client=False)
    assert (request.flaw, request.begins, request.interim, request.length) == ("", True, False, 12)
    trailers = checked([(b"grpc-status", b"0")], client=True)
    assert (trailers.flaw, trailers.begins, trailers.length) == ("", False, None)
    early = checked([(b":status", b"103")], client=True)
    assert (early.flaw, early.begins, early.interim) == ("", True, True)
    assert checked([(b":status", b"20")], client=True).flaw
    assert checked(GOOD, client=True).flaw


def indexed(number: int) -> bytes:
    return bytes((0x80 | number,)) if number < 127 else bytes((0xFF, number - 127))


LITERALS = st.builds(
    lambda kind, name, value: bytes((kind, len(name))) + name + bytes((len(value),)) + value,
    st.sampled_from([0x00, 0x10, 0x40, 0x40, 0x40]),
    st.sampled_from([b"a", b"b"]),
    st.sampled_from([b"1", b"2", b"x" * 60]),
)
SIZES = st.sampled_from([b"\x20", b"\x3f\x21", b"\x3f\x61", b"\x3f\xe1\x1f"])  # tables of 0, 64, 128, 4096 bytes
NUMBERS = st.lists(st.sampled_from([2, 61, 62, 62, 63, 64]).map(indexed), min_size=1, max_size=2).map(b"".join)
MIXED = st.one_of(
    st.builds(lambda size, literal, numbers: size + literal + numbers, SIZES, LITERALS, NUMBERS),
    st.builds(lambda numbers, other: numbers + other, NUMBERS, st.one_of(LITERALS, SIZES)),
)
FILLED = b"\x40\x01a\x011\x40\x01b\x012\x40\x01a\x013"


@settings(max_examples=100, deadline=None, derandomize=True)
@given(blocks=st.lists(st.one_of(NUMBERS, NUMBERS, LITERALS, SIZES, MIXED), max_size=20))
def test_a_block_means_what_the_table_says_now(blocks: list[bytes]) -> None:
    """Whatever fills, empties, shrinks or shifts the table between two equal blocks: nothing stale is ever remembered."""
    plain, reader = Decoder(LARGEST_HEADERS), HeaderReader(client=False)
    for block in [FILLED, *blocks]:
        try:
            expected = list(plain.decode(block, raw=True))
        except HPACKError:
            with pytest.raises(ConnectionFailure):
                reader.read(block)
            return
        assert list(reader.read(block).headers) == expected


TRAILERS = b"\xbe\x00\x0cgrpc-message\x00"  # of a server by gRPC's C core: its message is never put into the table


def test_a_block_that_leaves_the_table_as_it_was_is_read_once() -> None:
    reader = HeaderReader(client=True)
    reader.read(b"\x40\x0bgrpc-status\x010")
    headers = reader.read(b"\x88")
    trailers = reader.read(TRAILERS)
    assert list(trailers.headers) == [(b"grpc-status", b"0"), (b"grpc-message", b"")]
    assert reader.read(TRAILERS) is trailers
    assert reader.read(b"\x88") is headers


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(b"\x40\x01a\x01b", id="an entry more"),
        pytest.param(b"\x20", id="no room left"),
        pytest.param(b"\x3f\x10", id="less room, and all entries stay"),
        pytest.param(b"\x40\x01a\x7f\xbf\x1e" + b"x" * 4030, id="an entry for which all others go"),
        pytest.param(b"\x40\x01a\x7f\xe1\x3e" + b"x" * 8160, id="an entry that no table holds"),
    ],
)
def test_whatever_changes_the_table_makes_it_forget(change: bytes) -> None:
    reader = HeaderReader(client=True)
    reader.read(b"\x40\x0bgrpc-status\x010")
    reader.read(TRAILERS)
    assert reader._known
    reader.read(change)
    assert not reader._known


def test_what_is_remembered_is_bounded() -> None:
    reader = HeaderReader(client=False)
    for first in range(1, 62):
        for second in range(1, 62):
            reader.read(indexed(first) + indexed(second))
    assert len(reader._known) <= 64
    reader.read(indexed(2) * 500)
    assert indexed(2) * 500 not in reader._known


@pytest.mark.parametrize(
    "bomb",
    [
        b"\x40\x01a\x7f\xe1\x1e" + b"x" * 4000 + indexed(62) * 1000,  # 5 kB that mean 4 MB
        b"\x00\x00\x00" * (LARGEST_HEADERS // 3),
        b"\x40\x01a\x01b" * (LARGEST_HEADERS // 5),
        b"\xff" * LARGEST_HEADERS,
        indexed(2) * LARGEST_HEADERS,
    ],
    ids=["one large field", "many empty ones", "many entries", "a number without end", "many numbers"],
)
def test_a_bomb_is_refused_before_it_is_large(bomb: bytes) -> None:
    began = time.process_time()
    with pytest.raises(ConnectionFailure) as caught:
        HeaderReader(client=False).read(bomb)
    assert caught.value.code is Reset.COMPRESSION_ERROR
    assert "0x" not in str(caught.value)
    assert time.process_time() - began < 1


def test_what_stands_in_the_table_counts_together_with_what_follows() -> None:
    literal = b"\x00\x01a\x7f\xbf\x1e" + b"x" * 4030
    reader = HeaderReader(client=False)
    reader.read(b"\x40" + literal[1:])
    assert len(reader.read(indexed(62) * 8 + literal + indexed(62) * 7).headers) == 16
    with pytest.raises(ConnectionFailure):
        reader.read(indexed(62) * 9 + literal + indexed(62) * 7)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(blocks=st.lists(st.binary(max_size=60), max_size=4))
def test_no_block_fails_in_another_way(blocks: list[bytes]) -> None:
    reader = HeaderReader(client=True)
    with suppress(ConnectionFailure):
        for block in blocks:
            reader.read(block)
