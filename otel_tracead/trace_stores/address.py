"""The address of a running backend as the command line says it: where it is, which services and what time are meant."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

from otel_tracead.duration import parse_duration
from otel_tracead.moment import parse_moment

SCHEMES: Final = ("jaeger+http://", "jaeger+https://", "zipkin+http://", "zipkin+https://")

_MICROSECOND_NS: Final = 1_000
_MILLISECOND_NS: Final = 1_000_000
_SECOND_NS: Final = 1_000_000_000
_LATEST_NS: Final = (1 << 63) - 1
_HOUR_NS: Final = 3600 * _SECOND_NS
_LIMIT: Final = 200
_MOST: Final = 10_000
_MOST_CHARACTERS: Final = 64

_UNITS: Final = {"jaeger": _MICROSECOND_NS, "zipkin": _MILLISECOND_NS}
_FILTERS: Final[Mapping[str, frozenset[str]]] = {
    "jaeger": frozenset({"operation", "tag", "tags", "minDuration", "maxDuration"}),
    "zipkin": frozenset({"spanName", "remoteServiceName", "annotationQuery", "minDuration", "maxDuration"}),
}
_SERVICES: Final = frozenset({"service", "serviceName"})
_RANGE: Final = ("start", "end", "endTs", "lookback")
_ONCE: Final = (*_RANGE, "limit")
_ENCODE: Final = "in a user, a password and a parameter / ? # @ : are written %2F %3F %23 %40 %3A"
_PAGES: Final = ("/api/traces", "/api/v2/traces", "/search")  # an address may be copied from the browser


@dataclass(frozen=True, slots=True)
class Address:
    """What an address says.

    Attributes:
        kind: `jaeger` or `zipkin`.
        base: URL that the paths of its API go behind; without user and password.
        user: for basic authentication; None = none.
        password: its password.
        services: that are meant; none = all.
        start: nanoseconds since 1970.
        end: likewise.
        limit: traces to ask for at once.
        filters: parameters that the backend understands.
    """

    kind: str
    base: str
    user: str | None = field(repr=False)
    password: str = field(repr=False)
    services: tuple[str, ...]
    start: int
    end: int
    limit: int
    filters: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        return f"{self.kind}+{self.base}"


def is_address(text: str) -> bool:
    """Say whether *text* is meant as an address, and not as a path."""
    return re.match(r"[a-z0-9+.-]+://", text, re.IGNORECASE) is not None


def redacted(text: str) -> str:
    """Give an address without what may be a secret in it: all before its last @, whatever else is wrong with it."""
    before, separator, rest = text.partition("://")
    return f"{before}{separator}{'[REDACTED]@' if '@' in rest else ''}{rest.rpartition('@')[2]}"


def parse_address(text: str, now: int) -> Address:
    """Read an address.

    Args:
        text: `jaeger+http://user:password@host:16686/prefix?service=checkout&start=-1h&limit=500`.
        now: nanoseconds since 1970; what `-15m` is told from.

    Raises:
        ValueError: that is no such address; says why, and repeats no secret.
    """
    scheme = next((one for one in SCHEMES if text.lower().startswith(one)), None)
    if scheme is None:
        raise ValueError(f"an address of a running backend begins with {', '.join(SCHEMES[:-1])} or {SCHEMES[-1]}")
    kind, rest = scheme.partition("+")[0], text[len(scheme) :]
    if "@" in "".join(re.split(r"([/?#])", rest, maxsplit=1)[1:]):
        raise ValueError(f"an @ behind the host; {_ENCODE}")
    base, user, password = _place(scheme, rest.partition("#")[0].partition("?")[0])
    query = rest.partition("#")[0].partition("?")[2]
    given: dict[str, list[str]] = {}
    for key, value in parse_qsl(query, keep_blank_values=False):
        given.setdefault(key, []).append(value)
    known = _SERVICES | _FILTERS[kind] | set(_ONCE)
    for key, values in given.items():
        if key not in known:
            raise ValueError(f"unknown parameter {key[:_MOST_CHARACTERS]!r}; there are: {', '.join(sorted(known))}")
        if key in _ONCE and len(values) > 1:
            raise ValueError(f"{key} is given twice")
    start, end = _range({key: given[key][0] for key in _RANGE if key in given}, _UNITS[kind], now)
    services = [name for key in ("service", "serviceName") for name in given.get(key, [])]
    return Address(
        kind=kind,
        base=base,
        user=user,
        password=password,
        services=tuple(dict.fromkeys(services)),
        start=start,
        end=end,
        limit=_limit(given["limit"][0]) if "limit" in given else _LIMIT,
        filters=tuple((key, value) for key in sorted(_FILTERS[kind]) for value in given.get(key, [])),
    )


def _place(scheme: str, place: str) -> tuple[str, str | None, str]:
    """Give the base URL, the user and the password. What was written is not repeated: it may hold a password."""
    url = f"{scheme.partition('+')[2]}{place}"
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host:
        raise ValueError(f"no host, or a port that is no number, behind {scheme}; {_ENCODE}")
    path = parts.path.rstrip("/")
    for page in _PAGES:
        path = path.removesuffix(page)
    base = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{path.rstrip('/')}"
    user = None if parts.username is None else unquote(parts.username)
    return base, user, unquote(parts.password or "")


def _range(given: Mapping[str, str], unit: int, now: int) -> tuple[int, int]:
    """Give start and end in nanoseconds: the last hour, if nothing else is said."""
    end = now
    if "end" in given:
        end = _moment("end", given["end"], unit, now)
    elif "endTs" in given:
        end = _moment("endTs", given["endTs"], _MILLISECOND_NS, now)
    if "start" in given:  # Jaeger's own pages say both, and mean this
        start = _moment("start", given["start"], unit, now)
    else:
        start = end - (_lookback(given["lookback"]) if "lookback" in given else _HOUR_NS)
    start = max(start, 0)
    if start >= end:
        raise ValueError("start is not before end, so no trace can lie between them")
    return start, end


def _moment(key: str, text: str, unit: int, now: int) -> int:
    # An address has a space where a + was written.
    found = int(text) * unit if _is_number(text) else _told(key, text.replace(" ", "+"), now)
    if not 0 <= found <= _LATEST_NS:
        raise ValueError(f"{key}: {text[:_MOST_CHARACTERS]!r} is no time between 1970 and 2262")
    return found


def _told(key: str, text: str, now: int) -> int:
    try:
        return parse_moment(text, "now").at(now)
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from error


def _lookback(text: str) -> int:
    try:
        found = int(text) * _MILLISECOND_NS if _is_number(text) else round(parse_duration(text) * _SECOND_NS)
    except ValueError as error:
        raise ValueError(f"lookback: {error}") from error
    if found <= 0:
        raise ValueError("lookback: it must be longer than nothing")
    return found


def _limit(text: str) -> int:
    if not _is_number(text) or not 1 <= int(text) <= _MOST:
        raise ValueError(f"limit: {text[:_MOST_CHARACTERS]!r} is no number from 1 to {_MOST}")
    return int(text)


def _is_number(text: str) -> bool:
    return re.fullmatch(r"\d{1,20}", text, re.ASCII) is not None
