"""Which replica a trace goes to, as the Collector's load-balancing exporter has it (contrib, consistent_hashing.go).

A circle of 36,000 places; each endpoint stands at up to 100 of them, the CRC-32 of its name and a counter. A trace belongs to
the first endpoint at or after the CRC-32 of its id. So an endpoint that comes or goes moves only what is next to its places.
"""

from bisect import bisect_left
from collections.abc import Iterable
from typing import Final
from zlib import crc32

_PLACES: Final = 36_000
_POINTS: Final = 100


class Ring:
    """Endpoints on the circle.

    Args:
        endpoints: their names, as the resolver gives them; in sorted order the first one wins a place.

    Raises:
        ValueError: there is none.
    """

    def __init__(self, endpoints: Iterable[str]) -> None:
        taken: dict[int, str] = {}
        for endpoint in sorted(endpoints):
            for number in range(_POINTS):
                taken.setdefault(crc32(endpoint.encode() + bytes((number,))) % _PLACES, endpoint)
        if not taken:
            raise ValueError("a ring needs an endpoint")
        self._places = sorted(taken)
        self._endpoints = [taken[place] for place in self._places]

    def endpoint(self, trace_id: bytes) -> str:
        """Give the endpoint of a trace."""
        found = bisect_left(self._places, crc32(trace_id) % _PLACES)
        return self._endpoints[found % len(self._places)]
