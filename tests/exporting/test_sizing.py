from hypothesis import given
from hypothesis import strategies as st

from otel_tracead.exporting.sizing import SIZERS, halves, parts
from otel_tracead.wire.batch import Envelope, SpanBatch

ENVELOPES = [Envelope(b"", b"", {}) for _ in range(3)]
batches = st.lists(st.tuples(st.sampled_from(ENVELOPES), st.lists(st.binary(max_size=9), max_size=6)), max_size=6).map(
    SpanBatch
)


@given(batches.filter(lambda batch: len(batch) > 1))
def test_halves_hold_everything_in_order(batch: SpanBatch) -> None:
    first, second = halves(batch)
    assert [*first, *second] == list(batch)
    assert len(first) == len(batch) // 2


@given(batches, st.integers(0, 12), st.sampled_from(["items", "bytes"]))
def test_parts_hold_everything_in_order_and_stay_within_their_size(batch: SpanBatch, size: int, sizer: str) -> None:
    cut = parts(batch, size, sizer)
    assert [pair for part in cut for pair in part] == list(batch)
    if size:
        assert all(SIZERS[sizer](part) <= size or len(part) == 1 for part in cut)
    else:
        assert cut == [batch]
