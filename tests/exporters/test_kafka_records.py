import pytest
from confluent_kafka import KafkaError, KafkaException
from hypothesis import given
from hypothesis import strategies as st
from otel_tracead_exporters.kafka.records import RecordCutter
from span_builders import encoded, trace_id

from otel_tracead.errors import InvalidRequest, PermanentError, PipelineError, RetryableError, TooLarge
from otel_tracead.kafka.errors import MEANINGS, meaning
from otel_tracead.wire.batch import Envelope, SpanBatch
from otel_tracead.wire.otlp import Envelopes, decode_request, encode_request

PLAIN = Envelope(b"", b"", {})


def cutter(**settings) -> RecordCutter:
    return RecordCutter(encode_request, "spans", **settings)


def one(*spans: bytes, envelope: Envelope = PLAIN) -> SpanBatch:
    return SpanBatch([(envelope, list(spans))])


def test_without_a_key_a_batch_is_a_record():
    (record,) = cutter().cut(one(encoded(1, 1), encoded(2, 1)))
    assert (record.topic, record.key) == ("spans", None)
    assert record.value == encode_request(one(encoded(1, 1), encoded(2, 1)))


def test_a_record_holds_one_trace_and_has_its_id_as_key():
    spans = [encoded(1, 1), encoded(2, 1), encoded(1, 2)]
    first, second = cutter(by_trace=True).cut(one(*spans))
    assert (first.key, second.key) == (trace_id(1).hex().encode(), trace_id(2).hex().encode())
    assert [span for _, span in first.batch] == [spans[0], spans[2]]
    assert [span for _, span in decode_request(first.value, Envelopes())] == [spans[0], spans[2]]


def test_spans_without_valid_ids_have_no_key():
    (record,) = cutter(by_trace=True).cut(one(encoded(bytes(16), 1), encoded(b"short", 1)))
    assert (record.key, len(record.batch)) == (None, 2)


def test_the_resource_may_name_the_topic():
    by_name = cutter(topic_from_attribute="team")
    named, odd, none = (Envelope(b"", b"", {"team": team} if team else {}) for team in ("red", "r/d", ""))
    batch = SpanBatch(
        [(named, [encoded(1, 1)]), (odd, [encoded(1, 2)]), (none, [encoded(1, 3)]), (named, [encoded(1, 4)])]
    )
    assert {record.topic: len(record.batch) for record in by_name.cut(batch)} == {"red": 2, "spans": 2}


def test_names_from_outside_do_not_make_topics_without_end():
    by_name = cutter(topic_from_attribute="team")
    envelopes = [Envelope(b"", b"", {"team": f"team{number}"}) for number in range(1500)]
    topics = {record.topic for envelope in envelopes for record in by_name.cut(one(encoded(1, 1), envelope=envelope))}
    assert len(topics) == 1000


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(0, 600)), min_size=1, max_size=40), st.booleans())
def test_no_record_is_too_large_and_no_span_is_lost(spans, by_trace):
    batch = one(*(encoded(trace, number, name="x" * size) for number, (trace, size) in enumerate(spans, 1)))
    records = cutter(by_trace=by_trace, max_bytes=1200).cut(batch)
    assert all(len(record.value) <= 1200 - 256 for record in records)
    assert sorted(span for record in records for _, span in record.batch) == sorted(span for _, span in batch)
    if by_trace:
        assert all(record.key in {trace_id(number).hex().encode() for number in range(1, 5)} for record in records)


def test_a_span_that_fits_no_record_is_named():
    with pytest.raises(TooLarge, match="larger than producer::max_message_bytes"):
        cutter(max_bytes=1200).cut(one(encoded(1, 1), encoded(1, 2, name="x" * 1200)))


@pytest.mark.parametrize(("name", "kind"), MEANINGS.items())
def test_every_error_has_a_meaning(name: str, kind: type[PipelineError]):
    error = KafkaError(getattr(KafkaError, name))
    assert type(meaning(error)) is kind
    assert type(meaning(KafkaException(error))) is kind
    assert str(meaning(error)).startswith(f"{error.name()}: ")


def test_the_table_tells_apart_what_the_queue_treats_differently():
    assert {kind for kind in MEANINGS.values() if issubclass(kind, InvalidRequest)} == {InvalidRequest, TooLarge}
    assert type(meaning(KafkaError(KafkaError.UNKNOWN))) is RetryableError  # nothing is dropped for what nobody knows
    assert issubclass(MEANINGS["TOPIC_AUTHORIZATION_FAILED"], PermanentError)
