"""Durations as Go writes them, the only spelling that the YAML and the command line know."""

import re
from typing import Final

_UNITS: Final = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "μs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
_PART: Final = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_LONGEST: Final = 2**63 - 1  # nanoseconds, as in Go: 292 years
_MOST_CHARACTERS: Final = 64


def parse_duration(text: str) -> float:
    """Read a duration such as `200ms`, `1m30s`, `1.5h` or `0`.

    Args:
        text: a sign, then numbers with the units ns, us, ms, s, m and h; a bare `0` needs none.

    Returns:
        seconds, negative if the sign says so.

    Raises:
        ValueError: that is no duration; the message is Go's.
    """
    rest = text[1:] if text[:1] in {"+", "-"} else text
    if rest == "0":
        return 0.0
    if not rest or len(rest) > _MOST_CHARACTERS:
        raise ValueError(f'time: invalid duration "{text[:_MOST_CHARACTERS]}"')
    nanoseconds, end = 0.0, 0
    for part in _PART.finditer(rest):
        if part.start() != end:
            break
        nanoseconds += float(part[1]) * _UNITS[part[2]]
        end = part.end()
    if end != len(rest):
        number = re.match(r"[\d.]+$", rest[end:], re.ASCII)
        problem = "missing unit in duration" if number else "invalid duration"
        raise ValueError(f'time: {problem} "{text}"')
    if nanoseconds > _LONGEST:
        raise ValueError(f'time: invalid duration "{text}"')
    return (-1 if text.startswith("-") else 1) * nanoseconds / 1e9


def format_duration(seconds: float) -> str:
    """Write *seconds* as Go does: `200ms`, `1m30s`, `0s`; rounded to nanoseconds."""
    nanoseconds = round(abs(seconds) * 1e9)
    sign = "-" if seconds < 0 and nanoseconds else ""
    if nanoseconds == 0:
        return "0s"
    for unit in ("ns", "µs", "ms"):
        if nanoseconds < _UNITS[unit] * 1000:
            return f"{sign}{_decimal(nanoseconds, _UNITS[unit])}{unit}"
    minutes, rest = divmod(nanoseconds, _UNITS["m"])
    hours, minutes = divmod(minutes, 60)
    text = f"{_decimal(rest, _UNITS['s'])}s"
    if hours:
        return f"{sign}{hours}h{minutes}m{text}"
    return f"{sign}{minutes}m{text}" if minutes else f"{sign}{text}"


def _decimal(value: int, unit: int) -> str:
    whole, rest = divmod(value, unit)
    return str(whole) if rest == 0 else f"{whole}.{rest:0{len(str(unit)) - 1}d}".rstrip("0")
