"""What an error is called on the wire: gRPC and HTTP status codes, both directions, in one place.

Sources: OTLP specification (docs/specification.md of opentelemetry-proto), gRPC status codes, the Collector's
otlpreceiver (internal/errors) and otlphttpexporter.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import IntEnum
from typing import Final

from otel_tracead.errors import (
    Backpressure,
    InvalidRequest,
    PermanentError,
    PipelineError,
    RetryableError,
    TooLarge,
    Unauthenticated,
)
from otel_tracead.wire.rpc_status import RpcStatus


class Code(IntEnum):
    """The gRPC status codes; the names are those of `grpc.StatusCode`."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table that a receiver answers from.

    Attributes:
        code: the gRPC status code.
        http: the HTTP status code.
        outcome: the label of `otelcol_receiver_requests`.
    """

    code: Code
    http: int
    outcome: str


# The first class that fits counts.
ANSWERS: Final[tuple[tuple[type[Exception], Row], ...]] = (
    (TooLarge, Row(Code.RESOURCE_EXHAUSTED, 413, "invalid")),
    (InvalidRequest, Row(Code.INVALID_ARGUMENT, 400, "invalid")),
    (Unauthenticated, Row(Code.UNAUTHENTICATED, 401, "unauthenticated")),
    (PermanentError, Row(Code.INTERNAL, 500, "failure")),
    (Backpressure, Row(Code.UNAVAILABLE, 503, "refused")),
    (RetryableError, Row(Code.UNAVAILABLE, 503, "refused")),
    (Exception, Row(Code.UNAVAILABLE, 503, "failure")),
)

RETRYABLE_GRPC: Final = frozenset(
    {
        Code.CANCELLED,
        Code.DEADLINE_EXCEEDED,
        Code.ABORTED,
        Code.OUT_OF_RANGE,
        Code.UNAVAILABLE,
        Code.DATA_LOSS,
    }
)
RETRYABLE_HTTP: Final = frozenset({429, 502, 503, 504})

_DEFAULT_RETRY_AFTER: Final = 1.0
_UNREADABLE: Final = (400, 422)
_TOO_LARGE: Final = 413
# What Go's gRPC says of a request that its codec cannot read: one of the spans is at fault, and INTERNAL is not said of it.
_NOT_READ: Final = "error unmarshalling request"
_OVER_MESSAGE_LIMIT: Final = ("larger than max", "exceeds maximum size", "message too large")


def row_of(error: BaseException) -> Row:
    """Give the row of the table for *error*."""
    return next((row for kind, row in ANSWERS if isinstance(error, kind)), ANSWERS[-1][1])


def answer(error: BaseException) -> tuple[Row, RpcStatus]:
    """Say what a receiver answers to *error*; back-pressure always comes with a hint when to come back.

    Nothing of an error that is not ours reaches the sender: its text may hold what is none of their business.
    """
    row = row_of(error)
    if not isinstance(error, PipelineError):
        return row, RpcStatus(row.code, "internal error; try again later")
    retry_after = error.retry_after if isinstance(error, RetryableError) else None
    if retry_after is None and isinstance(error, Backpressure):
        retry_after = _DEFAULT_RETRY_AFTER
    return row, RpcStatus(row.code, str(error), retry_after)


def retry_after_header(seconds: float) -> str:
    """Write a `Retry-After` header: whole seconds, rounded up, at least one."""
    return str(max(1, math.ceil(seconds)))


def parse_retry_after(header: str | None, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> float | None:
    """Read a `Retry-After` header, seconds or an HTTP date, as seconds from now; None if there is none to read."""
    if header is None:
        return None
    text = header.strip()
    if text.isascii() and text.isdecimal():
        return float(text[:9])
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, (date.replace(tzinfo=date.tzinfo or UTC) - now()).total_seconds())


def error_from_grpc(code: Code, message: str, retry_after: float | None = None) -> PipelineError:
    """Say what a backend's gRPC status means for the spans that it was given."""
    text = f"{code.name}: {message}" if message else code.name
    if code is Code.RESOURCE_EXHAUSTED:
        if retry_after is not None:
            return RetryableError(text, retry_after)
        over = any(phrase in message.lower() for phrase in _OVER_MESSAGE_LIMIT)
        return TooLarge(text) if over else PermanentError(text)
    if code in RETRYABLE_GRPC:
        return RetryableError(text, retry_after)
    unreadable = code is Code.INVALID_ARGUMENT or (code is Code.INTERNAL and _NOT_READ in message)
    return InvalidRequest(text) if unreadable else PermanentError(text)


def error_from_http(
    status: int, message: str, retry_after: float | None = None, retryable: frozenset[int] = RETRYABLE_HTTP
) -> PipelineError:
    """Say what a backend's HTTP status (no 2xx) means for the spans that it was given."""
    text = f"HTTP {status}: {message}" if message else f"HTTP {status}"
    if status in retryable:
        return RetryableError(text, retry_after)
    if status == _TOO_LARGE:
        return TooLarge(text)
    return InvalidRequest(text) if status in _UNREADABLE else PermanentError(text)
