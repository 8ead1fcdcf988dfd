"""`python -m tests.peers.faulty_stage run ...`: the stage with a fault of each kind that the endurance benchmarks look for.

`ENDURANCE_FAULT` says which: `drop` loses the thousandth span that comes, `double` lets it go on twice.
"""

import os
from itertools import count

from otel_tracead.cli import main
from otel_tracead.delivery import Consignment
from otel_tracead.processors.batch.processor import BatchProcessor

_UNLUCKY = 1000
_consume = BatchProcessor.consume
_passed = count(1)


async def _faulty(self: BatchProcessor, consignment: Consignment) -> None:
    for _, spans in consignment.batch.groups:
        for index, span in enumerate(list(spans)):
            if next(_passed) == _UNLUCKY:
                if os.environ["ENDURANCE_FAULT"] == "drop":
                    del spans[index]
                else:
                    spans.append(span)
    await _consume(self, consignment)


if __name__ == "__main__":
    BatchProcessor.consume = _faulty  # type: ignore[method-assign]
    main()
