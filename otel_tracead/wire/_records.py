"""What the readers of typed records have in common: they read what is usual, and leave everything else to the plain readers."""

from collections.abc import Callable
from struct import Struct
from typing import Final, TypeVar

import msgspec

from otel_tracead.wire._json_reader import Broken

T = TypeVar("T")

TRACE_ID, SPAN_ID = 32, 16
"""Digits of the ids."""
START_AND_END: Final = Struct("<cQcQ").pack
"""Writes the fields of a span's times: tag and nanoseconds, twice."""
NULL: Final = msgspec.Raw(b"null")


class Unusual(Exception):  # noqa: N818 (never leaves these modules)
    """Left to the plain reader, be it allowed or not."""


def attempt(read: Callable[[bytes], T], body: bytes) -> T | None:
    """Read JSON; None where the plain reader has to look."""
    try:
        if not body.isascii():
            body.decode()  # what a record skips is not looked at for this
        return read(body)
    except (Unusual, Broken, msgspec.MsgspecError, ValueError, RecursionError):
        return None
