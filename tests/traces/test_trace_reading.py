"""Sources become traces: each for itself, with the share that was read."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from span_builders import ENVELOPES, batch, encoded

from otel_tracead.errors import InputError
from otel_tracead.traces.reading import TraceFile, chunks, read_batches, read_traces
from otel_tracead.traces.trace import Trace
from otel_tracead.wire.batch import SpanBatch
from otel_tracead.wire.files import TraceFileWriter


class Held:
    """A source in memory that says how far it is after each batch."""

    def __init__(self, size: int, *batches: SpanBatch) -> None:
        self.size = size
        self._batches = batches

    def __str__(self) -> str:
        return "held"

    def batches(self, _envelopes, progress) -> Iterator[SpanBatch]:
        for number, one in enumerate(self._batches, 1):
            yield one
            progress(number / len(self._batches))


def written(path, *batches):
    with TraceFileWriter(path) as writer:
        for one in batches:
            writer.write(one)
    return TraceFile(path)


def test_a_trace_of_two_sources_is_two_traces(tmp_path) -> None:
    first = written(tmp_path / "a.pb", batch(encoded(1, 1), encoded(2, 2)), batch(encoded(1, 3)))
    second = written(tmp_path / "b.jsonl.gz", batch(encoded(1, 4)), batch(encoded(b"", 5)))
    found = [len(trace.spans) for trace in read_traces([first, second])]
    assert sorted(found) == [1, 1, 2]
    assert [str(source) for source, batches in read_batches([first, second]) for _ in batches] == [
        *[str(tmp_path / "a.pb")] * 2,
        *[str(tmp_path / "b.jsonl.gz")] * 2,
    ]


def test_progress_is_by_size(tmp_path) -> None:
    shares: list[float] = []
    one, none = batch(encoded(1, 1)), Held(0)
    list(read_traces([Held(30, one, one), Held(10, one), none], shares.append))
    assert shares == pytest.approx([0.375, 0.75, 1.0, 1.0])
    shares.clear()
    file = written(tmp_path / "long.jsonl", *(batch(encoded(number, 1)) for number in range(1, 20_000)))
    list(read_traces([file], shares.append))
    assert len(shares) > 20, "also within a file"
    assert len(shares) < 1000, "and not for each line of it"
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_what_was_whole_is_given_before_the_error(tmp_path) -> None:
    whole = written(tmp_path / "a.pb", batch(encoded(1, 1)))
    (tmp_path / "b.pb").write_bytes(b"")
    found = read_traces([whole, TraceFile(tmp_path / "b.pb"), whole])
    assert len(next(found).spans) == 1
    with pytest.raises(InputError, match=r"b\.pb:1: the file is empty"):
        next(found)


@given(st.lists(st.integers(1, 9)), st.integers(1, 12))
def test_chunks_keep_every_trace_in_order(lengths, spans) -> None:
    envelope = ENVELOPES[0]
    traces = [Trace(bytes(16), [b""] * length, [envelope] * length) for length in lengths]
    found = list(chunks(iter(traces), spans))
    assert [trace for chunk in found for trace in chunk] == traces
    sizes = [[len(trace.spans) for trace in chunk] for chunk in found]
    assert all(sum(size) >= spans for size in sizes[:-1])
    assert all(sum(size[:-1]) < spans for size in sizes)
