"""`python -m tests.peers.slowed_stage run ...`: the stage with a deliberate slowdown, for the test that must notice it."""

import time

from otel_tracead.cli import main
from otel_tracead.delivery import Consignment
from otel_tracead.processors.tracead.processor import TraceadProcessor

_SECONDS_A_SPAN = 5e-6
_consume = TraceadProcessor.consume


async def _slowed(self: TraceadProcessor, consignment: Consignment) -> None:
    until = time.thread_time() + _SECONDS_A_SPAN * len(consignment.batch)
    while time.thread_time() < until:
        pass
    await _consume(self, consignment)


if __name__ == "__main__":
    TraceadProcessor.consume = _slowed  # type: ignore[method-assign]
    main()
