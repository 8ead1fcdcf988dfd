"""The simulated shop as events, normal and with faults, for tests of ranking."""

from functools import cache

import numpy as np
from tiny_model import shop_traces

from otel_tracead.detection.norms import Norms, measure
from otel_tracead.detection.traffic_sums import Split, TrafficSums
from otel_tracead.generator import Fault
from otel_tracead.traces.encoding import Encoder, Events, select
from otel_tracead.traces.labels import LabelTemplate


@cache
def shop_events(seed: int, duration_s: float, faults: tuple[Fault, ...] = ()) -> Events:
    return Encoder(LabelTemplate()).encode(shop_traces(seed, duration_s, faults))


@cache
def shop_norms() -> Norms:
    return measure(sums_of(shop_events(1, 120.0), Split.TIME))


def sums_of(events: Events, split: Split, together: int = 200) -> TrafficSums:
    sums = TrafficSums(split)
    for begin in range(0, events.traces, together):
        sums.add(select(events, np.arange(begin, min(begin + together, events.traces))))
    return sums
