"""Cross-origin requests (the Fetch standard, as the Collector's CORS library reads it): which headers an answer gets; pure."""

import re
from collections.abc import Mapping
from typing import Final

from otel_tracead.receivers.http_config import CorsConfig

_METHODS: Final = frozenset({"GET", "POST", "HEAD"})
_HEADERS: Final = ("accept", "content-type", "x-requested-with")
_PREFLIGHT_VARY: Final = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"


class Cors:
    """The answers of one listener."""

    def __init__(self, config: CorsConfig) -> None:
        self._all_origins = "*" in config.allowed_origins
        self._origins = [_pattern(origin) for origin in config.allowed_origins]
        self._all_headers = "*" in config.allowed_headers
        self._headers = {header.lower() for header in config.allowed_headers or _HEADERS}
        self._exposed = ", ".join(config.exposed_headers)
        self._max_age = str(max(0, config.max_age)) if config.max_age else ""

    def preflight(self, method: str, headers: Mapping[str, str]) -> dict[str, str] | None:
        """Answer the question that a browser asks before a request; None if this is no such question.

        Args:
            method: of the request.
            headers: of the request, whatever case their names are asked in.
        """
        asked = headers.get("Access-Control-Request-Method", "")
        if method != "OPTIONS" or not asked:
            return None
        answer = {"Vary": _PREFLIGHT_VARY}
        wanted = headers.get("Access-Control-Request-Headers", "")
        names = {name.strip().lower() for name in wanted.split(",") if name.strip()}
        if (
            not self._allows(headers.get("Origin", ""))
            or asked not in _METHODS
            or not (self._all_headers or names <= self._headers)
        ):
            return answer
        answer |= self._origin(headers["Origin"]) | {"Access-Control-Allow-Methods": asked}
        if wanted:
            answer["Access-Control-Allow-Headers"] = wanted
        if self._max_age:
            answer["Access-Control-Max-Age"] = self._max_age
        return answer

    def answer(self, headers: Mapping[str, str]) -> dict[str, str]:
        """Give the headers that the answer to any other request gets; *headers* as above."""
        origin = headers.get("Origin", "")
        answer = {"Vary": "Origin"}
        if self._allows(origin):
            answer |= self._origin(origin)
            if self._exposed:
                answer["Access-Control-Expose-Headers"] = self._exposed
        return answer

    def _allows(self, origin: str) -> bool:
        if not origin:
            return False
        return self._all_origins or any(pattern.fullmatch(origin.lower()) for pattern in self._origins)

    def _origin(self, origin: str) -> dict[str, str]:
        return {
            "Access-Control-Allow-Origin": "*" if self._all_origins else origin,
            "Access-Control-Allow-Credentials": "true",
        }


def _pattern(origin: str) -> re.Pattern[str]:
    start, star, end = origin.lower().partition("*")
    return re.compile(re.escape(start) + (".*" if star else "") + re.escape(end), re.DOTALL)
