import asyncio

import pytest

from otel_tracead import metrics
from otel_tracead.component import Component, Kind, Settings
from otel_tracead.errors import Backpressure, PermanentError, StartError
from otel_tracead.receivers.kafka import FACTORY, KafkaReceiverConfig, poller
from otel_tracead.testing import RecordingConsumer
from otel_tracead.wire.otlp import encode_request
from tests.contract.receiver_contract import until
from tests.receivers import samples
from tests.receivers.kafka.kafka_rig import HoldingConsumer, Rig, Topic

BODIES = {"otlp_proto": samples.otlp, "otlp_json": samples.otlp_json, "zipkin_json": samples.zipkin}


def body(number: int, spans: int = 1) -> bytes:
    return samples.otlp(spans, f"operation {number}")


@pytest.fixture
def topic(kafka) -> Topic:
    return Topic(kafka.address)


@pytest.mark.parametrize("encoding", BODIES)
async def test_takes_spans_of_every_encoding_counts_and_commits_them(topic, encoding):
    topic.put(BODIES[encoding](3), BODIES[encoding](0), BODIES[encoding](2, "other"))
    async with Rig(topic, traces={"topics": [topic.name], "encoding": encoding}) as rig:
        assert isinstance(rig.receiver, Component)
        await rig.until_spans(5)
        assert await rig.until_committed(3) == ""
        assert rig.value(metrics.RECEIVER_ACCEPTED, "kafka") == 5
        assert rig.value(metrics.RECEIVER_REQUESTS, "kafka", "success") == 3
        assert rig.value(metrics.KAFKA_RECORDS, topic.name, "0") == 3
        assert rig.value(metrics.KAFKA_OFFSET, topic.name, "0") == 2
        assert rig.value(metrics.KAFKA_UNSETTLED) == 0
        assert rig.value(metrics.KAFKA_PARTITION_START) == 1


async def test_what_comes_in_leaves_byte_for_byte(topic):
    sent = [body(number, spans=number % 3 + 1) for number in range(20)]
    topic.put(*sent)
    async with Rig(topic) as rig:
        await rig.until_spans(sum(number % 3 + 1 for number in range(20)))
    envelope_and_spans = {span for batch in rig.consumer.batches for _, span in batch}
    assert all(any(span in one for one in sent) for span in envelope_and_spans)
    (envelope,) = {envelope for batch in rig.consumer.batches for envelope, _ in batch.groups}
    (whole,) = [one for one in rig.consumer.batches if len(one.groups) == 20]
    for request, group in zip(sent, whole.groups, strict=True):
        assert encode_request(type(whole)([group])) == request
    assert envelope.service == "shop"


async def test_no_offset_is_committed_before_its_spans_are_handed_on(topic, monkeypatch):
    monkeypatch.setattr("otel_tracead.receivers.kafka.records.MAX_RECORDS", 2)
    topic.put(*map(body, range(6)))
    async with Rig(topic, HoldingConsumer()) as rig:
        await until(lambda: len(rig.consumer.held) == 3)
        await rig.until_committed(0)
        assert rig.value(metrics.KAFKA_UNSETTLED) == 6
        rig.consumer.settle(1)
        await asyncio.sleep(0.3)
        assert topic.committed(rig.group) == (0, "")
        rig.consumer.settle(0)
        await rig.until_committed(4)
        rig.consumer.settle(2)
        await rig.until_committed(6)


async def test_what_was_not_handed_on_is_read_again(topic):
    topic.put(*map(body, range(4)))
    async with Rig(topic, HoldingConsumer()) as rig:
        await rig.until_spans(4)
    async with Rig(topic) as rig:
        await rig.until_spans(4)
        await rig.until_committed(4)
    async with Rig(topic) as rig:
        await until(lambda: rig.partitions == {0})
        topic.put(body(9))
        await rig.until_spans(1)
        assert len(rig.consumer.spans) == 1


async def test_a_trace_that_was_handed_on_is_read_again_whole_or_not_at_all(topic, monkeypatch):
    monkeypatch.setattr("otel_tracead.receivers.kafka.records.MAX_RECORDS", 1)
    topic.put(*map(body, range(4)))
    async with Rig(topic, HoldingConsumer()) as rig:
        await until(lambda: len(rig.consumer.held) == 4)
        deliveries = [consignment.holds[0][0] for consignment in rig.consumer.held]
        deliveries[3].gathered_with(deliveries[0])  # a trace has spans in both, and was handed on
        rig.consumer.settle(0, 1, 3)
        assert await rig.until_committed(2) == "otel-tracead:0"
    async with Rig(topic, HoldingConsumer()) as rig:
        await until(lambda: len(rig.consumer.held) == 4)
        replayed = [consignment.holds[0][0].replayed for consignment in rig.consumer.held]
        assert replayed == [True, True, False, False]
        rig.consumer.settle()
        assert await rig.until_committed(4) == ""


async def test_records_wait_for_a_full_pipeline_and_none_is_skipped(topic, monkeypatch):
    monkeypatch.setattr(poller, "_MOST_WAITING", 20)
    monkeypatch.setattr("otel_tracead.receivers.kafka.records.MAX_RECORDS", 5)
    topic.put(*map(body, range(100)))
    async with Rig(topic, error_backoff={"max_interval": "60ms"}) as rig:
        rig.consumer.refusal = Backpressure("full")
        await until(lambda: rig.value(metrics.RECEIVER_REFUSED, "kafka") > 0 and rig.receiver._poller._paused)
        topic.put(*map(body, range(100, 300)))
        await asyncio.sleep(0.3)
        assert (rig.consumer.spans, rig.receiver._chunks.qsize() < 60) == ([], True)
        rig.consumer.failures.append(Backpressure("filled in between"))
        rig.consumer.refusal = None
        await rig.until_spans(300)
        assert len(rig.consumer.spans) == 300
        assert len(set(rig.consumer.spans)) == 300
        await rig.until_committed(300)
        assert not rig.receiver._poller._paused


async def test_what_the_pipeline_can_never_take_is_counted_and_left(topic):
    topic.put(body(1, 2))
    consumer = RecordingConsumer()
    consumer.failures += [PermanentError("never")]
    async with Rig(topic, consumer) as rig:
        await rig.until_committed(1)
        assert rig.value(metrics.RECEIVER_FAILED, "kafka") == 2
        topic.put(body(2))
        await rig.until_spans(1)


POISON = [b"\xff\xff\xff", b"{}", samples.otlp(2)[:-1], b"x" * 5000]


async def test_records_that_cannot_be_read_are_skipped_and_counted(topic):
    topic.put(body(1), *POISON, None, b"", body(2))
    async with Rig(topic, max_record_size=4096) as rig:
        await rig.until_spans(2)
        await rig.until_committed(8)
        assert len(rig.consumer.spans) == 2
        assert rig.value(metrics.KAFKA_UNMARSHAL_FAILED, topic.name, "0") == 4
        assert rig.value(metrics.RECEIVER_REQUESTS, "kafka", "invalid") == 4
        assert rig.value(metrics.RECEIVER_REQUESTS, "kafka", "success") == 4
        (warned,) = rig.warnings()
        assert (warned["topic"], warned["partition"], warned["offset"]) == (topic.name, 0, 1)
        assert "xxx" not in str(rig.logs)


async def test_the_log_does_not_say_what_was_in_a_record(topic):
    topic.put(b'{"resourceSpans": "very private"}')
    async with Rig(topic, traces={"topics": [topic.name], "encoding": "otlp_json"}) as rig:
        await rig.until_committed(1)
        (warned,) = rig.warnings()
        assert warned["reason"].endswith("expected a list")
        assert "private" not in str(rig.logs)


async def test_records_that_cannot_be_read_are_kept_aside(topic, kafka):
    aside = Topic(kafka.address)
    topic.put(body(1), b"\xff\xff\xff", key=b"key", headers=[("theirs", b"1"), ("null", None)])
    topic.put(b"x" * 5000, body(2))
    async with Rig(topic, max_record_size=4096, dead_letter={"topic": aside.name}) as rig:
        await rig.until_spans(2)
        await rig.until_committed(4)
    first, second = aside.records(2)
    assert (first.key(), first.value(), second.value()) == (b"key", b"\xff\xff\xff", b"x" * 5000)
    headers = dict(first.headers())
    assert (headers["theirs"], headers["null"]) == (b"1", None)
    told = {name: headers[f"tracead-dead-letter-{name}"] for name in ("topic", "partition", "offset")}
    assert told == {"topic": topic.name.encode(), "partition": b"0", "offset": b"1"}
    assert headers["tracead-dead-letter-reason"].startswith(b"not a valid OTLP protobuf")
    assert b"max_record_size" in dict(second.headers())["tracead-dead-letter-reason"]


async def test_a_record_that_was_sent_twice_counts_once(topic):
    topic.put(body(1), body(2), body(1), body(1))
    async with Rig(topic) as rig:
        await rig.until_committed(4)
        assert len(rig.consumer.spans) == 2
        assert rig.value(metrics.KAFKA_DUPLICATES, topic.name, "0") == 2


async def test_partitions_are_shared_and_nothing_is_missed_when_they_move(kafka):
    topic = Topic(kafka.address, partitions=4)
    async with Rig(topic, HoldingConsumer()) as first:
        await until(lambda: first.partitions == {0, 1, 2, 3})
        for number in range(40):
            topic.put(body(number), partition=number % 4)
        await first.until_spans(40)
        async with Rig(topic) as second:
            await until(lambda: len(first.partitions) == 2 and len(second.partitions) == 2)
            await second.until_spans(20)
            moved = [delivery for held in first.consumer.held for delivery, _ in held.holds if delivery.withdrawn]
            assert moved
            assert sorted(first.partitions | second.partitions) == [0, 1, 2, 3]
            await asyncio.sleep(0.2)
            assert len(second.consumer.spans) == 20
            first.consumer.settle()  # what was withdrawn settles without being committed a second time
            await first.until_committed(10, min(first.partitions))
        await until(lambda: first.partitions == {0, 1, 2, 3})
        await asyncio.sleep(0.3)
        assert len(first.consumer.spans) == 40


async def test_partitions_that_come_while_others_pause_go_on_with_them(kafka, monkeypatch):
    monkeypatch.setattr(poller, "_MOST_WAITING", 5)
    monkeypatch.setattr("otel_tracead.receivers.kafka.records.MAX_RECORDS", 2)
    topic = Topic(kafka.address, partitions=2)
    async with Rig(topic) as first:
        async with Rig(topic) as second:
            await until(lambda: len(first.partitions) == len(second.partitions) == 1)
            first.consumer.refusal = second.consumer.refusal = Backpressure("full")
            for number in range(40):
                topic.put(body(number), partition=number % 2)
            await until(lambda: first.receiver._poller._paused and second.receiver._poller._paused)
        await until(lambda: first.partitions == {0, 1})
        await asyncio.sleep(0.3)
        assert first.receiver._chunks.qsize() < 20
        first.consumer.refusal = None
        await first.until_spans(40)
        assert len(set(first.consumer.spans)) == 40


async def test_all_strategies(kafka):
    for strategy in ("range", "roundrobin"):
        topic = Topic(kafka.address, partitions=2)
        topic.put(body(1), partition=1)
        async with Rig(topic, group_rebalance_strategies=[strategy]) as first:
            await first.until_spans(1)
            await first.until_committed(1, partition=1)
            async with Rig(topic, group_rebalance_strategies=[strategy]) as second:
                await until(lambda: len(first.partitions) == len(second.partitions) == 1)
                topic.put(body(2), partition=0)
                topic.put(body(3), partition=1)
                await until(lambda: len(first.consumer.spans) + len(second.consumer.spans) == 3)


async def test_a_group_that_begins_at_the_end_misses_nothing_from_then_on(topic):
    topic.put(body(1))
    async with Rig(topic, initial_offset="latest") as rig:
        await rig.until_committed(1)
    topic.put(body(2))  # while nobody reads, and nothing was ever read
    async with Rig(topic, initial_offset="latest") as rig:
        await rig.until_spans(1)
        assert rig.consumer.spans[0] in body(2)


async def test_a_topic_that_does_not_exist_yet_is_waited_for(kafka):
    topic = Topic(kafka.address, make=False)
    async with Rig(topic, metadata={"refresh_interval": "500ms"}) as rig:
        await until(lambda: rig.value(metrics.KAFKA_ERRORS) > 0)
        topic.make()
        topic.put(body(1))
        await rig.until_spans(1)
        assert rig.failed == []


async def test_topics_by_pattern(kafka):
    topics = [Topic(kafka.address, make=False) for _ in range(3)]
    start = topics[0].name
    for topic, ending in zip(topics, ("-a", "-b", "-test"), strict=True):
        topic.name = f"{start}{ending}"
        topic.make()
        topic.put(body(1))
    traces = {"topics": [f"^{start}-.*"], "exclude_topics": [".*-(test|dev)$"]}
    async with Rig(topics[0], traces=traces) as rig:
        await rig.until_spans(2)
        await asyncio.sleep(0.3)
        assert len(rig.consumer.spans) == 2


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
async def test_encrypted_and_by_name(kafka, topic, mechanism):
    topic.put(body(1))
    sasl = {"username": "tracead", "password": "secret", "mechanism": mechanism}
    secure = {"brokers": [kafka.secure], "tls": {"ca_file": str(kafka.certificate)}, "auth": {"sasl": sasl}}
    async with Rig(topic, **secure) as rig:
        await rig.until_spans(1)
        await rig.until_committed(1)


async def test_who_is_not_let_in_says_so_and_goes_on_trying(kafka, topic):
    sasl = {"username": "tracead", "password": "very wrong", "mechanism": "PLAIN"}
    trusted = {"ca_file": str(kafka.certificate)}
    for tls, password in ((trusted, "very wrong"), ({}, "secret")):
        secure = {"brokers": [kafka.secure], "tls": tls, "auth": {"sasl": sasl | {"password": password}}}
        async with Rig(topic, **secure) as rig:
            await until(lambda: rig.value(metrics.KAFKA_ERRORS) > 0)
            assert rig.failed == []
            assert "very wrong" not in str(rig.logs)


async def test_shutdown_without_start():
    settings = Settings(id="kafka", kind=Kind.RECEIVER)
    await FACTORY.build(KafkaReceiverConfig(), settings, RecordingConsumer()).shutdown()


async def test_a_certificate_that_cannot_be_read_keeps_it_from_starting(tmp_path):
    broken = tmp_path / "ca.pem"
    broken.write_text("no certificate")
    for file, error in ((broken, StartError), (tmp_path / "none.pem", OSError)):
        config = KafkaReceiverConfig.model_validate({"tls": {"ca_file": str(file)}})
        receiver = FACTORY.build(config, Settings(id="kafka", kind=Kind.RECEIVER), RecordingConsumer())
        with pytest.raises(error):
            await receiver.start()
        await receiver.shutdown()
