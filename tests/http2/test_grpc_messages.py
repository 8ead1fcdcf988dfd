"""Statuses in headers, and messages behind their prefix."""

import grpc
import pytest
from hpack import Decoder
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_tracead.http2 import Status, pack, unpack


@settings(max_examples=60, deadline=None, derandomize=True)
@given(code=st.integers(0, 16), message=st.text(max_size=50), details=st.binary(max_size=50))
def test_a_status_is_read_as_it_was_written(code: int, message: str, details: bytes) -> None:
    status = Status(code, message, details)
    headers = Decoder().decode(status.trailers_only(), raw=True)
    assert Status.read(headers) == status
    assert all(0x20 <= byte < 0x7F for _, value in headers for byte in value)


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ([(b":status", b"503")], grpc.StatusCode.UNAVAILABLE),
        ([(b":status", b"404")], grpc.StatusCode.UNIMPLEMENTED),
        ([(b":status", b"401")], grpc.StatusCode.UNAUTHENTICATED),
        ([(b":status", b"302")], grpc.StatusCode.UNKNOWN),
        ([], grpc.StatusCode.UNKNOWN),
        ([(b"grpc-status", b"99")], grpc.StatusCode.UNKNOWN),
        ([(b"grpc-status", b"-1")], grpc.StatusCode.UNKNOWN),
        ([(b"grpc-status", b"14")], grpc.StatusCode.UNAVAILABLE),
    ],
)
def test_what_others_say(headers: list[tuple[bytes, bytes]], code: grpc.StatusCode) -> None:
    assert Status.read(headers).code == code.value[0]


def test_what_cannot_be_read_of_a_status_is_left_out() -> None:
    fields = [(b"grpc-status", b"3"), (b"grpc-message", b"%zz%41%"), (b"grpc-status-details-bin", b"a")]
    assert Status.read(fields) == Status(3, "%zzA%", b"")


@settings(max_examples=40, deadline=None, derandomize=True)
@given(message=st.binary(max_size=100), compressed=st.booleans(), cut=st.integers(1, 105), more=st.binary(max_size=9))
def test_the_first_message_of_a_body(message: bytes, compressed: bool, cut: int, more: bytes) -> None:
    body = pack(message, compressed=compressed)
    assert unpack(body + more) == (message, compressed)
    assert unpack(body[:-cut]) is None
