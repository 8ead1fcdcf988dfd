"""Traces of one event each, as columns."""

import numpy as np

from otel_tracead.traces.encoding import Events


def one_event_traces(own_us: np.ndarray, start: np.ndarray) -> Events:
    n = len(own_us)
    zeros = np.zeros(n, np.int64)
    return Events(
        offsets=np.arange(n + 1),
        span=zeros,
        label=zeros,
        self_us=np.asarray(own_us, np.float64),
        duration_us=np.asarray(own_us, np.float64),
        start=start,
        parent=zeros - 1,
        service=zeros,
        instance=zeros,
        callee=zeros - 1,
        roots=zeros + 1,
        orphans=zeros,
        root=zeros,
        labels=["a"],
        services=["a"],
        instances=["a"],
    )
