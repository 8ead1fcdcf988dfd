"""What is to be simulated: how long, how much, from which seed, and what goes wrong."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, get_args

import numpy as np

from otel_tracead.generator.faults import Fault, FaultKind

_DAY_S: Final = 86_400.0
_BUSIEST_HOUR_S: Final = 14 * 3600.0

# Where each kind of fault strikes in `standard_faults`: places with traffic enough that a short window shows it.
_STANDARD: Final[tuple[tuple[FaultKind, str, str, float], ...]] = (
    ("slow_service", "recommendation", "", 0.7),
    ("slow_edge", "cart", "frontend", 0.7),
    ("lock_contention", "currency", "", 0.4),
    ("error", "product-catalog", "", 0.4),
    ("abort", "frontend", "", 0.4),
    ("missing_call", "currency", "frontend", 0.6),
    ("retry_storm", "product-catalog", "frontend", 0.5),
    ("changed_order", "frontend", "", 0.6),
    ("new_operation", "ad", "", 0.6),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A run of the simulated shop. The same scenario always gives the same spans.

    `traces_per_second` is the mean over a day; the rate at an hour differs by up to `daily_swing` of it (0 = always the
    same), with its top at 14:00 UTC. `scale` multiplies the workers of every service: the shop of scale 1 begins to
    queue visibly at about 100 traces a second and refuses requests from about 350, so raise both together for more
    traffic. Some hosts' clocks are wrong by `clock_skew_ms`, some by as much the other way. Requests arrive for
    `duration_s`; those that are then under way are finished.

    Raises:
        ValueError: a number out of range.
    """

    seed: int
    start_unix_nano: int
    duration_s: float
    traces_per_second: float = 20.0
    faults: tuple[Fault, ...] = ()
    scale: float = 1.0
    daily_swing: float = 0.4
    clock_skew_ms: float = 0.5

    def __post_init__(self) -> None:
        problems = [
            message
            for bad, message in (
                (self.seed < 0, "seed must not be negative"),
                (self.start_unix_nano < 0, "start_unix_nano must not be negative"),
                (not 0 < self.duration_s < math.inf, "duration_s must be positive"),
                (not 0 < self.traces_per_second < math.inf, "traces_per_second must be positive"),
                (not 0 < self.scale < math.inf, "scale must be positive"),
                (not 0 <= self.daily_swing <= 1, "daily_swing must be from 0 to 1"),
                (not math.isfinite(self.clock_skew_ms), "clock_skew_ms must be finite"),
            )
            if bad
        ]
        if problems:
            raise ValueError("; ".join(problems))

    def rate(self, now_s: float) -> float:
        """Return the traces per second expected at a time, in seconds after the start."""
        of_day_s = (self.start_unix_nano / 1e9 + now_s) % _DAY_S
        swing = math.cos(2 * math.pi * (of_day_s - _BUSIEST_HOUR_S) / _DAY_S)
        return self.traces_per_second * (1 + self.daily_swing * swing)

    @property
    def highest_rate(self) -> float:
        """The traces per second at the top of the day."""
        return self.traces_per_second * (1 + self.daily_swing)


def standard_faults(duration_s: float, seed: int) -> tuple[Fault, ...]:
    """Return one fault of every kind, one after the other over `duration_s` seconds, with quiet times between.

    The first tenth is quiet too. The seed decides the order of the kinds.
    """
    order = np.random.default_rng(seed).permutation(len(_STANDARD)).tolist()
    quiet_s = duration_s / 10
    slot_s = (duration_s - quiet_s) / len(_STANDARD)
    return tuple(
        Fault(
            kind=_STANDARD[which][0],
            service=_STANDARD[which][1],
            caller=_STANDARD[which][2],
            share=_STANDARD[which][3],
            start_s=quiet_s + slot * slot_s,
            duration_s=slot_s / 2,
        )
        for slot, which in enumerate(order)
    )


def parse_fault(text: str, seconds: Callable[[str], float]) -> Fault:
    """Return the fault that `kind:[caller>]service[/operation]:start:duration[:severity]` describes.

    Args:
        text: what the user wrote.
        seconds: reads a duration such as `90s`; raises ValueError if it cannot.

    Raises:
        ValueError: with what is wrong and how it should look.
    """
    shape = "kind:[caller>]service[/operation]:start:duration[:severity], for example slow_service:payment:2m:60s:5"
    parts = text.split(":")
    if len(parts) not in {4, 5}:
        raise ValueError(f"{text!r} has {len(parts)} parts; write {shape}")
    kind = next((known for known in get_args(FaultKind) if known == parts[0]), None)
    if kind is None:
        raise ValueError(f"{text!r}: unknown fault kind {parts[0]!r}; known are {', '.join(get_args(FaultKind))}")
    place, _, operation = parts[1].partition("/")
    caller, _, service = place.rpartition(">")
    try:
        return Fault(
            kind=kind,
            service=service.strip(),
            caller=caller.strip(),
            operation=operation,
            start_s=seconds(parts[2]),
            duration_s=seconds(parts[3]),
            severity=float(parts[4]) if len(parts) == 5 else 0.0,
        )
    except ValueError as error:
        raise ValueError(f"{text!r}: {error}; write {shape}") from None
