"""A day of the simulated shop as the harness reads one: minutes, some of them with a fault, and blocks of time."""

import numpy as np
from tiny_model import START, shop_traces

from benchmarks.targets.traffic import FAULT, NORMAL, Block, Traffic, arrange, block
from otel_tracead.generator import Fault
from otel_tracead.traces.encoding import Encoder
from otel_tracead.traces.labels import LabelTemplate

MINUTE_S = 12.0
MINUTES = 10
FAULTY = (6, 7, 8, 9)


def day(seed: int = 5, every: int = 1) -> Traffic:
    """Give one trace of *every* so many."""
    fault = Fault(
        kind="slow_service",
        service="product-catalog",
        start_s=FAULTY[0] * MINUTE_S,
        duration_s=len(FAULTY) * MINUTE_S,
        severity=400.0,
    )
    traces = shop_traces(seed=seed, duration_s=MINUTES * MINUTE_S, faults=(fault,))
    events = Encoder(LabelTemplate()).encode(traces[::every])
    minute = np.minimum((events.began - START) // int(MINUTE_S * 1e9), MINUTES - 1)
    names = np.array([f"{chr(ord('a') + one)}.jsonl.gz" for one in range(MINUTES)])
    state = np.where(np.isin(minute, FAULTY), FAULT, NORMAL)
    return arrange("shop", events, names[minute], state, {names[one]: "cpu_contention" for one in FAULTY})


def held_out(traffic: Traffic) -> Block:
    return block(traffic, 1, np.isin(traffic.minute, (2, 3, 4, 5)))
