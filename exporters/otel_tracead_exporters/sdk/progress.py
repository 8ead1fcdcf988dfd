"""How far one batch has come, and whether it is itself what an exporter fails at; pure.

An exporter of the SDK says SUCCESS or FAILURE and no more: FAILURE is a backend that is away and a backend that will
never take this span. What tells them apart is what becomes of other spans. A batch that failed three times, and each
time something else was taken after it had failed, is at fault itself: it is halved until the span at fault stands alone.
"""

from typing import Final

from otel_tracead.exporting.sizing import halves
from otel_tracead.wire.batch import Envelope, SpanBatch

_STRIKES: Final = 2
"""How often something else must have been taken between two failures."""


class Progress:
    """What is left to send of one batch.

    Attributes:
        parts: each of one resource. Exporters of the SDK are made for one application: Zipkin's names the service of
            the first span for all of them.
        refused: spans that were given up: at fault, and alone.
    """

    def __init__(self, batch: SpanBatch) -> None:
        self.parts = _by_resource(batch)
        self.refused = 0
        self._strikes = 0
        self._taken_before = -1

    def failed(self, parts: list[SpanBatch], taken: int) -> bool:
        """Note which parts were not taken this time; gives whether it is worth trying them again at once.

        Args:
            parts: what was not taken, in order; all others of `parts` were.
            taken: how many spans the exporter ever took, of any batch.
        """
        self.parts = parts
        evidence = 0 <= self._taken_before < taken
        self._taken_before = taken
        if not evidence:
            return False
        self._strikes += 1
        if self._strikes < _STRIKES:
            return False
        alone = sum(len(part) == 1 for part in parts)
        self.refused += alone
        self.parts = [half for part in parts if len(part) > 1 for half in halves(part)]
        return bool(self.parts)


def _by_resource(batch: SpanBatch) -> list[SpanBatch]:
    parts: dict[bytes, list[tuple[Envelope, list[bytes]]]] = {}
    for group in batch.groups:
        parts.setdefault(group[0].resource, []).append(group)
    return [SpanBatch(groups) for groups in parts.values()]
