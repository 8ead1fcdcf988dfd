"""What is pure of the processor: sampling and packing."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from span_builders import ENVELOPES, encoded, trace_id

from otel_tracead.delivery import Delivery
from otel_tracead.detection.marking import mark_unscored
from otel_tracead.processors.tracead import parcels
from otel_tracead.processors.tracead.parcels import pack
from otel_tracead.processors.tracead.scoring import is_kept
from otel_tracead.traces.trace import Trace


def test_sampling_keeps_its_share_whatever_the_ids_look_like():
    random_ids = [trace_id(n) for n in range(5000)]
    padded = [n.to_bytes(16, "big") for n in range(1, 5001)]
    for ids in (random_ids, padded):
        assert 1150 < sum(is_kept(one, 25) for one in ids) < 1350
        assert all(is_kept(one, 100) for one in ids)
        assert not any(is_kept(one, 0) for one in ids)


@given(st.binary(min_size=16, max_size=16), st.floats(0, 100), st.floats(0, 100))
def test_a_larger_share_keeps_what_a_smaller_one_keeps(one, smaller, larger):
    smaller, larger = sorted((smaller, larger))
    assert is_kept(one, smaller) <= is_kept(one, larger)


@given(st.lists(st.tuples(st.integers(1, 12), st.integers(0, 3), st.integers(0, 200)), min_size=1, max_size=12))
def test_packing_keeps_every_span_and_every_hold(given_traces):
    deliveries = [Delivery() for _ in range(4)]
    traces = []
    for number, (spans, delivery, size) in enumerate(given_traces):
        deliveries[delivery].hold()
        encodings = [encoded(number, n, name="x" * size) for n in range(1, spans + 1)]
        envelopes = [ENVELOPES[n % 3] for n in range(spans)]
        traces.append(Trace(trace_id(number), encodings, envelopes, holds=[(deliveries[delivery], 1)]))
    for delivery in deliveries:
        delivery.settle()
    marked = mark_unscored(traces, "error")
    with_limits = (parcels.MAX_SPANS, parcels.MAX_BYTES)
    try:
        parcels.MAX_SPANS, parcels.MAX_BYTES = 7, 1000
        packed = pack(marked)
    finally:
        parcels.MAX_SPANS, parcels.MAX_BYTES = with_limits
    sent = Counter((e, s) for one in marked for e, s in zip(one.trace.envelopes, one.spans, strict=True))
    assert sum((Counter(batch) for parcel in packed for batch in parcel.batches), Counter()) == sent
    assert all(len(b) == 1 or (len(b) <= 7 and b.size() <= 1000) for parcel in packed for b in parcel.batches)
    assert [one for parcel in packed for one, _ in parcel.decisions] == [trace.trace_id for trace in traces]
    for parcel in packed:
        for consignment in parcel.consignments():
            assert any(delivery.holds for delivery in deliveries)
            consignment.settle()
    assert [delivery.holds for delivery in deliveries] == [0] * 4
