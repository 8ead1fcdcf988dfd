"""What bounds the processor and is not for users to set."""

from dataclasses import dataclass

from otel_tracead.processors.tracead.judging import PATIENCE
from otel_tracead.processors.tracead.supply import LOOK_SECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Bounds of a processor.

    Attributes:
        pending_spans: released and not yet handed on; over it `admit` refuses, and what was stored is not read on.
        batch_spans: how many are scored together, unless one trace alone has more.
        batch_bytes: how much of them, likewise: while they are scored their bytes are there twice.
        patience: seconds after which a batch goes on without a verdict.
        look_seconds: between two looks at the model's folder.
        replay_seconds: what the start waits for stored spans to be read; then it goes on, and they are read all the same.
    """

    pending_spans: int = 200_000
    batch_spans: int = 16_384
    batch_bytes: int = 8 << 20
    patience: float = PATIENCE
    look_seconds: float = LOOK_SECONDS
    replay_seconds: float = 10.0
