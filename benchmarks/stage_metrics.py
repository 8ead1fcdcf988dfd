"""Reads a running stage's own metrics."""

import math
import urllib.request
from collections.abc import Mapping
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

from otel_tracead.metrics import Metric
from tools.peers.process import HOST

Cumulative = Mapping[float, float]
"""Observations at or below each bound of a histogram, infinity last."""
_PATIENCE: Final = 10.0


def value(port: int, metric: Metric) -> float:
    """Give the sum of a metric's series."""
    names = {metric.name, f"{metric.name}_total"}  # as the parser calls a counter
    return sum(found for name, _, found in _samples(port) if name in names)


def histogram(port: int, metric: Metric) -> Cumulative:
    """Give the cumulative counts of a histogram, its series added up."""
    found: dict[float, float] = {}
    for name, labels, count in _samples(port):
        if name == f"{metric.name}_bucket":
            bound = float(labels["le"])
            found[bound] = found.get(bound, 0.0) + count
    return dict(sorted(found.items()))


def quantile(before: Cumulative, after: Cumulative, share: float) -> float:
    """Give the value that *share* of the observations between two readings do not exceed.

    Within a bucket they are taken for evenly spread, as Prometheus does; in the last one its lower bound is given.
    NaN where there were none.
    """
    grown = {bound: count - before.get(bound, 0.0) for bound, count in after.items()}
    total = grown.get(math.inf, 0.0)
    wanted = share * total
    low = below = 0.0
    for bound, count in grown.items():
        if count >= wanted and total:
            inside = count - below
            return low if bound == math.inf or not inside else low + (bound - low) * (wanted - below) / inside
        low, below = bound, count
    return math.nan


def _samples(port: int) -> list[tuple[str, dict[str, str], float]]:
    with urllib.request.urlopen(f"http://{HOST}:{port}/metrics", timeout=_PATIENCE) as answer:
        families = text_string_to_metric_families(answer.read().decode())
        return [
            (sample.name, dict(sample.labels), float(sample.value)) for family in families for sample in family.samples
        ]
