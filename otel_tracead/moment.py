"""A point in time as people write it: RFC 3339, or how far back from something."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from otel_tracead.duration import parse_duration

_RFC3339: Final = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d{1,9})\d*)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND_NS: Final = 1_000_000_000
_MOST_CHARACTERS: Final = 64


@dataclass(frozen=True, slots=True)
class Moment:
    """A point in time.

    Attributes:
        nanoseconds: since 1970, or from what it is told from (negative: before it).
        relative: which of the two.
    """

    nanoseconds: int
    relative: bool = False

    def at(self, anchor: int) -> int:
        """Give nanoseconds since 1970; *anchor* is what a relative one is told from."""
        return self.nanoseconds + anchor if self.relative else self.nanoseconds


def parse_moment(text: str, anchor: str = "the newest span") -> Moment:
    """Read `2026-01-01T13:00:00Z`, or `-15m`: a quarter of an hour before *anchor*.

    Raises:
        ValueError: it is neither; says what would be.
    """
    found = _RFC3339.fullmatch(text)
    try:
        if found:
            return _absolute(*found.groups())
        if text.startswith("-"):
            return Moment(round(parse_duration(text) * _SECOND_NS), relative=True)
    except (ValueError, OverflowError):
        pass
    raise ValueError(
        f"{text[:_MOST_CHARACTERS]!r} is neither a time (2026-01-01T13:00:00Z) nor how long before {anchor} (-15m)"
    )


def _absolute(day: str, clock: str, fraction: str | None, zone: str) -> Moment:
    whole = datetime.fromisoformat(f"{day}T{clock}{'+00:00' if zone in 'zZ' else zone}") - _EPOCH
    return Moment(whole // timedelta(seconds=1) * _SECOND_NS + int((fraction or "0").ljust(9, "0")))
