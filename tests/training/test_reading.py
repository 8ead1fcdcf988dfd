"""Stored traces become one table of events, in bounded memory."""

import numpy as np
import pytest
from tiny_model import shop_traces

from otel_tracead.errors import InputError
from otel_tracead.traces.labels import LabelTemplate
from otel_tracead.traces.reading import TraceFile
from otel_tracead.traces.sequences import Order
from otel_tracead.training.reading import read
from otel_tracead.wire.batch import group
from otel_tracead.wire.files import TraceFileWriter


def store(path, traces):
    with TraceFileWriter(path) as writer:
        for trace in traces:
            writer.write(group(trace.envelopes, trace.spans))
    return path


def everything(paths, **options):
    settings = {"max_spans": 10**6, "progress": lambda _share: None} | options
    return read([TraceFile(path) for path in paths], LabelTemplate(), Order.TREE, **settings)


@pytest.fixture(scope="module")
def traces():
    return shop_traces(seed=4, duration_s=30.0)


def test_all_traces_of_all_files_are_read(tmp_path, traces) -> None:
    half = len(traces) // 2
    files = [store(tmp_path / "a.pb", traces[:half]), store(tmp_path / "b.jsonl.gz", traces[half:])]
    shares: list[float] = []
    reading = everything(files, progress=shares.append)
    assert reading.traces == reading.events.traces == len(traces)
    assert reading.spans == sum(len(trace.spans) for trace in traces)
    assert shares[-1] == 1.0
    assert shares == sorted(shares)


def test_too_much_is_sampled_by_trace_and_in_any_order_alike(tmp_path, traces) -> None:
    forwards = everything([store(tmp_path / "a.pb", traces)], max_spans=400)
    backwards = everything([store(tmp_path / "b.pb", traces[::-1])], max_spans=400)
    assert 0 < len(forwards.events) <= 400
    assert forwards.traces == len(traces)
    assert sorted(forwards.events.start.tolist()) == sorted(backwards.events.start.tolist())
    kept = {len(trace.spans) for trace in traces}
    assert set(np.diff(forwards.events.offsets).tolist()) <= kept, "a trace is kept whole or not at all"


def test_files_without_a_trace_say_so(tmp_path) -> None:
    empty = tmp_path / "none.jsonl"
    empty.write_text('{"resourceSpans":[]}\n')
    with pytest.raises(InputError, match=r"none\.jsonl"):
        everything([empty])
