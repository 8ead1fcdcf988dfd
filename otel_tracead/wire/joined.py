"""Many encoded spans in one piece: whoever reads or searches them touches each of them once."""

from collections.abc import Sequence
from typing import NamedTuple


class Joined(NamedTuple):
    """Spans, one behind the other.

    Attributes:
        content: their bytes.
        lengths: of each of them.
    """

    content: bytes
    lengths: list[int]


def join(spans: Sequence[bytes]) -> Joined:
    """Join encoded *spans*; their lengths are read while they are near."""
    return Joined(b"".join(spans), list(map(len, spans)))
