"""The files that `score` is measured with, and what is made of their times."""

import pytest

from benchmarks.offline import FORMATS, Cost, fill, per_second
from otel_tracead.generator import Scenario, requests, simulate
from otel_tracead.traces.identity import trace_ids
from otel_tracead.wire import otlp
from otel_tracead.wire.files import read_file
from otel_tracead.wire.otlp import Envelopes


@pytest.mark.parametrize("suffix", FORMATS.values())
def test_copies_have_trace_ids_of_their_own(tmp_path, suffix):
    scenario = Scenario(seed=3, start_unix_nano=1_767_603_600_000_000_000, duration_s=2, traces_per_second=10)
    envelopes = Envelopes()
    spans = [pair for _, body in requests(simulate(scenario)) for pair in otlp.decode_request(body, envelopes)]
    assert fill(tmp_path / f"traces{suffix}", spans, 3) == 3 * len(spans)
    read = [span for _, batch in read_file(tmp_path / f"traces{suffix}") for _, span in batch]
    assert len(read) == 3 * len(spans)
    assert len(set(trace_ids(read))) == 3 * len(set(trace_ids(span for _, span in spans)))
    assert sorted(span[6:] for span in read) == sorted(3 * [span[6:] for _, span in spans])


def test_starting_is_no_part_of_a_span():
    assert per_second(Cost(100, 5.0, 1), Cost(400, 6.5, 1)) == 200
