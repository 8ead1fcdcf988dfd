"""A released trace: its spans as bytes, and why it was released."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from otel_tracead.delivery import Delivery
from otel_tracead.wire.batch import Envelope
from otel_tracead.wire.joined import Joined, join
from otel_tracead.wire.runs import Runs


class Release(StrEnum):
    """Why a trace was released; the value of `tracead.trace.release`."""

    ROOT = "root"
    WAIT = "wait"
    LIMIT = "limit"
    SHUTDOWN = "shutdown"


@dataclass(slots=True, eq=False)
class Trace:
    """All spans of one trace id that came before its release, in order of arrival.

    Attributes:
        trace_id: 16 bytes.
        spans: each the encoded `Span`.
        envelopes: of each span; parallel to `spans`, and mostly `Runs`.
        release: why it was released.
        holds: (delivery, number of holds) that go with the spans.
        released_at: when, on the clock of whoever assembles (seconds).
    """

    trace_id: bytes
    spans: list[bytes]
    envelopes: list[Envelope] | Runs[Envelope]
    release: Release = Release.WAIT
    holds: Sequence[tuple[Delivery, int]] = field(default=())
    released_at: float = 0.0
    _joined: Joined | None = field(default=None, init=False, repr=False)

    def joined(self) -> Joined:
        """Give the bytes of all spans, one behind the other.

        The first call joins them: whoever reads them and whoever searches them touch each span once together. No span is
        added to a trace from then on.
        """
        if self._joined is None:
            self._joined = join(self.spans)
        return self._joined

    @property
    def size(self) -> int:
        """Count the bytes of its spans, which joins them; see `joined`."""
        return len(self.joined().content)
