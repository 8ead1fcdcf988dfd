"""Records on disk: what is packed is unpacked the same, and nothing else is taken."""

import tracemalloc

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_tracead.wire import stored
from otel_tracead.wire.batch import Envelope, SpanBatch, TranslatedSpan
from otel_tracead.wire.otlp import Envelopes, decode_request
from otel_tracead.wire.stored import pack, unpack
from otel_tracead.wire.zipkin import decode_spans
from tests.wire import protobuf_strategies as some

_bytes = st.binary(max_size=12) | st.binary(min_size=250, max_size=300)
_spans = st.lists(_bytes | st.builds(TranslatedSpan, _bytes, _bytes), max_size=4)
_resources = st.sampled_from([b"", b"\x0a\x00", b"\x0a\x0b\x0a\x09\x0a\x03key\x12\x02\x0a\x00", b"\x1a\x01u"])


def _shape(batch):
    return [
        (
            envelope.resource,
            envelope.scope,
            [(type(span), bytes(span), getattr(span, "origin", None)) for span in spans],
        )
        for envelope, spans in batch.groups
    ]


@given(st.lists(st.tuples(_resources, _bytes, _spans), max_size=5))
@settings(max_examples=80)
def test_unpacking_is_the_inverse_of_packing(groups):
    batch = SpanBatch([(Envelope(resource, scope, {}), spans) for resource, scope, spans in groups])
    envelopes = Envelopes()
    again = unpack(pack(batch), envelopes)
    assert _shape(again) == _shape(batch)
    assert pack(again) == pack(batch)
    for envelope, _ in again.groups:
        assert envelopes.intern(envelope.resource, envelope.scope) is envelope


@given(some.requests)
@settings(max_examples=30)
def test_a_request_comes_back_with_its_envelopes(request_):
    envelopes = Envelopes()
    batch = decode_request(request_.SerializeToString(), envelopes)
    again = unpack(pack(batch), envelopes)
    assert again == batch  # the same envelopes, too: they are compared by identity
    alone = unpack(pack(batch), Envelopes())
    assert [envelope.attributes for envelope, _ in alone.groups] == [
        envelope.attributes for envelope, _ in batch.groups
    ]


def test_the_original_of_a_translated_span_comes_back():
    origin = b'{"traceId":"%s","id":"%s","name":"get","unknown":[1]}' % (b"1" * 32, b"2" * 16)
    batch = decode_spans(b"[" + origin + b"]", Envelopes())
    ((_, (span,)),) = unpack(pack(batch), Envelopes()).groups
    assert isinstance(span, TranslatedSpan)
    assert span.origin == origin
    assert span == next(iter(batch))[1]


@given(st.binary(max_size=60))
@settings(max_examples=100)
def test_other_bytes_are_refused_or_a_batch(record):
    _refused_or_a_batch(record)


@given(st.lists(_spans, min_size=1, max_size=2), st.data())
@settings(max_examples=100)
def test_a_damaged_record_is_refused_or_another_batch(groups, data):
    record = bytearray(pack(SpanBatch([(Envelope(b"\x0a\x00", b"", {}), spans) for spans in groups])))
    for _ in range(data.draw(st.integers(1, 3))):
        record[data.draw(st.integers(0, len(record) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    _refused_or_a_batch(bytes(record))
    _refused_or_a_batch(bytes(record[: data.draw(st.integers(0, len(record)))]))


def _refused_or_a_batch(record):
    try:
        batch = unpack(record, Envelopes())
    except ValueError:
        return
    assert len(batch) <= len(record)
    assert _shape(unpack(pack(batch), Envelopes())) == _shape(batch)


def test_every_truncation_is_refused():
    record = pack(SpanBatch([(Envelope(b"", b"s", {}), [b"span", TranslatedSpan(b"t", b"{}")])]))
    for end in range(len(record)):
        with pytest.raises(ValueError, match="not a record"):
            unpack(record[:end], Envelopes())
    with pytest.raises(ValueError, match="not a record"):
        unpack(record + b"\x00", Envelopes())


@pytest.mark.parametrize(
    ("record", "problem"),
    [
        (msgspec.msgpack.encode((2, [])), "version 2"),
        (msgspec.msgpack.encode((1, [(b"\x0a\x7f", b"", [b"span"])])), "not a record"),  # a resource that is none
        (msgspec.msgpack.encode((1, [(b"", b"", ["text"])])), "not a record"),
        (msgspec.msgpack.encode((1, [(b"", b"", [(b"span",)])])), "not a record"),
        (msgspec.msgpack.encode({"version": 1}), "not a record"),
        (b"\x91" * 100_000, "not a record"),  # brackets without end
    ],
)
def test_what_else_is_refused(record, problem):
    with pytest.raises(ValueError, match=problem):
        unpack(record, Envelopes())


@pytest.mark.parametrize(
    "start",
    [b"\xdd\xff\xff\xff\xff", b"\x92\x01\xdd\xff\xff\xff\xff", b"\x92\x01\x91\x93\xc4\x00\xc4\x00\xdd\xff\xff\xff\xff"],
)
def test_a_count_that_the_record_cannot_hold_takes_no_memory(start):
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="not a record"):
            unpack(start + b"\xc4\x00" * 100, Envelopes())
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "groups", [[(b"", b"", [(b"", b"")] * 50_000)], [(b"", number.to_bytes(2), []) for number in range(50_000)]]
)
def test_memory_is_bounded_by_the_length_of_the_record(groups):
    record = msgspec.msgpack.encode((1, groups))
    tracemalloc.start()
    try:
        unpack(record, Envelopes())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 100 * len(record)


def test_a_record_that_is_too_large_is_refused(monkeypatch):
    record = pack(SpanBatch([(Envelope(b"", b"", {}), [b"x" * 100])]))
    monkeypatch.setattr(stored, "MAX_RECORD", len(record))
    unpack(record, Envelopes())
    monkeypatch.setattr(stored, "MAX_RECORD", len(record) - 1)
    with pytest.raises(ValueError, match="larger than"):
        unpack(record, Envelopes())


def test_nothing_but_spans_is_packed():
    class Other(bytes):
        pass

    with pytest.raises(TypeError, match="not a span"):
        pack(SpanBatch([(Envelope(b"", b"", {}), [Other(b"x")])]))
