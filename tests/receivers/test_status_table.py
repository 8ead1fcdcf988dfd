"""The table of status codes, row by row, both directions."""

from datetime import UTC, datetime

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_tracead.errors import Backpressure, InvalidRequest, PermanentError, RetryableError, TooLarge, Unauthenticated
from otel_tracead.status import (
    ANSWERS,
    Code,
    answer,
    error_from_grpc,
    error_from_http,
    parse_retry_after,
    retry_after_header,
)
from otel_tracead.wire.rpc_status import RpcStatus

RECEIVER_ROWS = [
    (TooLarge("x"), 8, 413, "invalid", None),
    (InvalidRequest("x"), 3, 400, "invalid", None),
    (Unauthenticated("x"), 16, 401, "unauthenticated", None),
    (PermanentError("x"), 13, 500, "failure", None),
    (Backpressure("x"), 14, 503, "refused", 1.0),
    (Backpressure("x", 5), 14, 503, "refused", 5),
    (RetryableError("x"), 14, 503, "refused", None),
    (RetryableError("x", 2), 14, 503, "refused", 2),
    (RuntimeError("secret"), 14, 503, "failure", None),
]


@pytest.mark.parametrize(("error", "code", "http", "outcome", "retry_after"), RECEIVER_ROWS)
def test_what_a_receiver_answers(error, code, http, outcome, retry_after) -> None:
    row, status = answer(error)
    assert (row.code, row.http, row.outcome) == (code, http, outcome)
    assert (status.code, status.retry_after) == (code, retry_after)
    assert "secret" not in status.message


def test_every_row_of_the_table_is_tested() -> None:
    assert {kind for kind, _ in ANSWERS} == {type(error) for error, *_ in RECEIVER_ROWS[:-1]} | {Exception}


@pytest.mark.parametrize(
    ("code", "meaning"),
    [
        (Code.CANCELLED, RetryableError),
        (Code.UNKNOWN, PermanentError),
        (Code.INVALID_ARGUMENT, InvalidRequest),
        (Code.DEADLINE_EXCEEDED, RetryableError),
        (Code.NOT_FOUND, PermanentError),
        (Code.ALREADY_EXISTS, PermanentError),
        (Code.PERMISSION_DENIED, PermanentError),
        (Code.RESOURCE_EXHAUSTED, PermanentError),
        (Code.FAILED_PRECONDITION, PermanentError),
        (Code.ABORTED, RetryableError),
        (Code.OUT_OF_RANGE, RetryableError),
        (Code.UNIMPLEMENTED, PermanentError),
        (Code.INTERNAL, PermanentError),
        (Code.UNAVAILABLE, RetryableError),
        (Code.DATA_LOSS, RetryableError),
        (Code.UNAUTHENTICATED, PermanentError),
    ],
)
def test_what_a_grpc_status_means(code: Code, meaning: type[Exception]) -> None:
    error = error_from_grpc(code, "because")
    assert type(error) is meaning
    assert str(error) == f"{code.name}: because"
    if meaning is RetryableError:
        assert error_from_grpc(code, "", 3.0).retry_after == 3.0


def test_what_gos_codec_cannot_read_is_broken_data() -> None:
    said = "grpc: error unmarshalling request: unmarshal: invalid TraceID length"
    assert type(error_from_grpc(Code.INTERNAL, said)) is InvalidRequest


def test_exhausted_is_retryable_only_with_retry_info() -> None:
    assert type(error_from_grpc(Code.RESOURCE_EXHAUSTED, "quota", 9.0)) is RetryableError
    for said in (
        "Received message larger than max (5 vs. 4)",  # C core
        "grpc: received message larger than max (5 vs. 4)",  # Go
        "gRPC message exceeds maximum size 4: 5",  # Java
    ):
        assert type(error_from_grpc(Code.RESOURCE_EXHAUSTED, said)) is TooLarge


@pytest.mark.parametrize(
    ("status", "meaning"),
    [
        (301, PermanentError),
        (400, InvalidRequest),
        (401, PermanentError),
        (403, PermanentError),
        (404, PermanentError),
        (408, PermanentError),
        (413, TooLarge),
        (415, PermanentError),
        (422, InvalidRequest),
        (429, RetryableError),
        (500, PermanentError),
        (501, PermanentError),
        (502, RetryableError),
        (503, RetryableError),
        (504, RetryableError),
    ],
)
def test_what_an_http_status_means(status: int, meaning: type[Exception]) -> None:
    error = error_from_http(status, "because", 4.0)
    assert type(error) is meaning
    assert str(status) in str(error)
    if isinstance(error, RetryableError):
        assert error.retry_after == 4.0


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("", None),
        ("7", 7),
        (" 120 ", 120),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("Wed, 21 Oct 2026 07:28:30 GMT", 30),
        ("Wed, 21 Oct 2026 07:27:00 GMT", 0),
        ("Wed, 21 Oct 2026 07:28:30", 30),
        ("9" * 400, 999_999_999),
        ("Wed, 99 Oct 9999999 07:28:00 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str | None, seconds: float | None) -> None:
    now = datetime(2026, 10, 21, 7, 28, 0, tzinfo=UTC)
    assert parse_retry_after(header, lambda: now) == seconds


@given(st.text())
def test_any_retry_after_is_survived(header: str) -> None:
    parse_retry_after(header)


def test_the_header_is_whole_seconds() -> None:
    assert [retry_after_header(seconds) for seconds in (0.0, 0.2, 1.0, 1.1, 30)] == ["1", "1", "1", "2", "30"]


@given(st.sampled_from(Code), st.text(), st.none() | st.floats(0, 10**6))
def test_a_status_comes_back_as_it_was(code: Code, message: str, retry_after: float | None) -> None:
    back = RpcStatus.decode(RpcStatus(code, message, retry_after).encode())
    assert (back.code, back.message) == (code, message)
    assert back.retry_after == (None if retry_after is None else pytest.approx(retry_after, abs=1e-6))


@given(st.binary())
def test_any_status_from_outside_is_survived(encoded: bytes) -> None:
    status = RpcStatus.decode(encoded)
    if status is not None and status.retry_after is not None:
        assert 0 <= status.retry_after <= 366 * 86400


def test_the_json_form() -> None:
    assert orjson.loads(RpcStatus(14, "full", 1.5).encode_json()) == {
        "code": 14,
        "message": "full",
        "details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "1.5s"}],
    }
    assert orjson.loads(RpcStatus(3, "no").encode_json()) == {"code": 3, "message": "no"}


def test_googles_own_messages_agree() -> None:
    status_pb2 = pytest.importorskip("google.rpc.status_pb2")
    error_details_pb2 = pytest.importorskip("google.rpc.error_details_pb2")
    theirs = status_pb2.Status.FromString(RpcStatus(14, "full", 1.5).encode())
    info = error_details_pb2.RetryInfo()
    assert theirs.details[0].Unpack(info)
    assert (theirs.code, theirs.message, info.retry_delay.ToMilliseconds()) == (14, "full", 1500)
