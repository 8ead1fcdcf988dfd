import asyncio
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from confluent_kafka import KafkaError
from otel_tracead_exporters.kafka import FACTORY, KafkaConfig
from otel_tracead_exporters.kafka.sender import KafkaSender
from pydantic import ValidationError
from span_builders import encoded

from otel_tracead.component import Kind, Settings
from otel_tracead.delivery import Consignment, Delivery
from otel_tracead.errors import StartError
from otel_tracead.exporting import QueuedExporter
from otel_tracead.metrics import EXPORTER_FAILED, EXPORTER_REJECTED, EXPORTER_RETRIES, EXPORTER_SENT
from otel_tracead.wire.batch import SpanBatch
from otel_tracead.wire.otlp import Envelopes, decode_request, encode_request
from tests.contract.exporter_contract import ENVELOPE, FAST, ExporterContract, Refusal, Running, batch, until
from tests.exporters.kafka_producer import FakeCluster, FakeProducer
from tests.exporters.span_names import name_of
from tests.receivers import samples
from tests.receivers.kafka.kafka_rig import HoldingConsumer, Rig, Topic


class TestKafka(ExporterContract):
    """Against a producer in memory that fails as it is told; what the real one does stands below."""

    @pytest.fixture(autouse=True)
    def fake(self, backend):
        def build(config: KafkaConfig, settings: Settings, _consumer: Any) -> QueuedExporter:
            return QueuedExporter(settings, config, KafkaSender(config, settings, partial(FakeProducer, backend)))

        self.factory = replace(FACTORY, build=build)

    factory = FACTORY

    def make_backend(self):
        return FakeCluster()

    def config(self, endpoint):
        return {"brokers": ["nowhere:9092"]}

    async def test_waits_as_long_as_the_backend_asks(self):
        """Brokers give no hint."""

    async def send(self, running: Running, spans: list[bytes]) -> None:
        delivery = Delivery(lambda: running.settled.append(len(spans)))
        await running.exporter.consume(Consignment(SpanBatch([(ENVELOPE, spans)]), ((delivery, 1),)))
        await running.until_settled(1)

    async def test_what_was_acknowledged_is_not_sent_again_with_what_was_not(self, backend):
        running = await self.run(backend, partition_traces_by_id=True)
        backend.refusals += [None, Refusal("transient"), None, Refusal("transient")]
        await self.send(running, [encoded(trace, 1, name=f"{trace}") for trace in range(1, 6)])
        assert sorted(running.names) == ["1", "2", "3", "4", "5"]
        assert (backend.produced, running.value(EXPORTER_RETRIES), running.value(EXPORTER_SENT)) == (7, 1, 5)
        await running.exporter.shutdown()

    async def test_what_one_record_is_refused_for_does_not_touch_the_others(self, backend):
        running = await self.run(backend, partition_traces_by_id=True)
        backend.poison = "bad"
        spans = [encoded(1, 1, name="a"), encoded(2, 1, name="b"), encoded(2, 2, name="bad"), encoded(2, 3, name="c")]
        await self.send(running, spans)
        assert running.names == ["a", "b", "c"]
        assert (running.value(EXPORTER_REJECTED), running.value(EXPORTER_FAILED)) == (1, 0)
        await running.exporter.shutdown()

    async def test_a_record_too_large_for_its_topic_is_cut(self, backend):
        running = await self.run(backend, partition_traces_by_id=True)
        backend.by_name["large"] = KafkaError.MSG_SIZE_TOO_LARGE
        await self.send(running, [encoded(1, 1, name="a"), encoded(2, 1, name="b"), encoded(2, 2, name="large")])
        assert running.names == ["a", "b"]
        assert running.value(EXPORTER_REJECTED) == 1
        await running.exporter.shutdown()

    async def test_a_span_larger_than_a_record_may_be_is_dropped_before_anything_is_sent(self, backend):
        running = await self.run(backend, producer={"max_message_bytes": 2000})
        names = ["a", "b" * 3000, "c"]
        await self.send(running, [encoded(1, number, name=name) for number, name in enumerate(names, 1)])
        assert (running.names, running.value(EXPORTER_FAILED), running.value(EXPORTER_SENT)) == (["a", "c"], 1, 2)
        await running.exporter.shutdown()

    async def test_a_slow_broker_is_waited_for_and_gets_nothing_twice(self, backend):
        running = await self.run(backend, timeout="100ms")
        backend.gate.clear()
        await running.put("a")
        await until(lambda: running.value(EXPORTER_RETRIES) >= 2)
        backend.gate.set()
        await running.until_settled(1)
        assert (running.names, backend.produced) == (["a"], 1)
        await running.exporter.shutdown()

    async def test_a_full_producer_is_waited_for(self, backend):
        running = await self.run(backend, partition_traces_by_id=True, timeout="100ms")
        backend.room = 2
        backend.gate.clear()
        delivery = Delivery(lambda: running.settled.append(1))
        spans = [encoded(trace, 1, name=f"{trace}") for trace in range(1, 6)]
        await running.exporter.consume(Consignment(SpanBatch([(ENVELOPE, spans)]), ((delivery, 1),)))
        await until(lambda: running.value(EXPORTER_RETRIES) >= 2)
        backend.gate.set()
        await running.until_settled(1)
        assert running.names == ["1", "2", "3", "4", "5"]
        await running.exporter.shutdown()

    async def test_a_producer_at_its_end_is_replaced(self, running: Running) -> None:
        running.backend.fatal = True
        await running.put("a")
        await running.until_settled(1)
        assert (running.names, running.backend.producers) == (["a"], 2)


async def export(topic: Topic, *batches: SpanBatch, **written: Any) -> QueuedExporter:
    """Send *batches* to a real broker."""
    settled: list[int] = []
    body = {"brokers": [topic.address], "traces": {"topic": topic.name}, "retry_on_failure": FAST, **written}
    settings = Settings(id="kafka/1", kind=Kind.EXPORTER)
    exporter = FACTORY.build(KafkaConfig.model_validate(body), settings, None)
    await exporter.start()
    for one in batches:
        await exporter.consume(Consignment(one, ((Delivery(lambda: settled.append(1)), 1),)))
    await until(lambda: len(settled) == len(batches))
    await exporter.shutdown()
    assert exporter.undelivered == 0
    return settings.telemetry


@pytest.fixture
def topic(kafka) -> Topic:
    return Topic(kafka.address)


async def test_a_record_is_the_request_byte_for_byte(topic):
    request = samples.otlp(20)
    numbers = await export(topic, decode_request(request, Envelopes()))
    (record,) = topic.records(1)
    assert (record.value(), record.key(), record.headers()) == (request, None, None)
    assert numbers.value(EXPORTER_SENT, "kafka/1") == 20


@pytest.mark.parametrize("acks", ["all", -1, 0, 1])
async def test_all_acknowledgements(topic, acks):
    await export(topic, batch("a"), producer={"required_acks": acks, "linger": "1ms"})
    assert len(topic.records(1)) == 1


@pytest.mark.parametrize("compression", ["none", "gzip", "snappy", "lz4", "zstd"])
async def test_all_compressions(topic, compression):
    await export(topic, batch("a"), producer={"compression": compression, "compression_params": {"level": 1}})
    (record,) = topic.records(1)
    assert record.value() == encode_request(batch("a"))


@pytest.mark.parametrize("encoding", ["otlp_proto", "otlp_json", "zipkin_json", "zipkin_proto"])
async def test_all_encodings_there_and_back(topic, encoding):
    await export(topic, batch("a", "b"), traces={"topic": topic.name, "encoding": encoding})
    async with Rig(topic, traces={"topics": [topic.name], "encoding": encoding}) as rig:
        await rig.until_spans(2)
        assert sorted(name_of(span) for span in rig.consumer.spans) == ["a", "b"]


async def test_the_traces_of_one_key_are_in_one_partition(kafka):
    topic = Topic(kafka.address, partitions=4)
    spans = [encoded(trace, number) for number in range(1, 4) for trace in range(1, 21)]
    batches = [SpanBatch([(ENVELOPE, spans[index : index + 20])]) for index in range(0, 60, 20)]
    await export(topic, *batches, partition_traces_by_id=True, record_headers={"team": "red"})
    async with Rig(topic, HoldingConsumer()) as rig:
        await rig.until_spans(60)
        where: dict[bytes, set[int]] = {}
        for held in rig.consumer.held:
            for _, span in held.batch:
                where.setdefault(span[2:18], set()).add(held.holds[0][0]._partition.number)
        assert {len(partitions) for partitions in where.values()} == {1}
        assert set.union(*where.values()) == {0, 1, 2, 3}
        assert sorted(rig.consumer.spans) == sorted(spans)
    (record, *_) = topic.records(1)
    assert (len(record.key()), record.headers()) == (32, [("team", b"red")])


async def test_a_topic_that_takes_only_small_records(kafka):
    from confluent_kafka.admin import AdminClient, NewTopic

    topic = Topic(kafka.address, make=False)
    admin = AdminClient({"bootstrap.servers": kafka.address, "log_level": 0})
    small = NewTopic(topic.name, num_partitions=1, replication_factor=1, config={"max.message.bytes": "2000"})
    admin.create_topics([small])[topic.name].result(10)
    spans = [encoded(1, number, name=f"{number}" * 100) for number in range(1, 30)]
    numbers = await export(topic, SpanBatch([(ENVELOPE, [*spans, encoded(1, 99, name="x" * 3000)])]))
    async with Rig(topic) as rig:
        await rig.until_spans(29)
        assert sorted(rig.consumer.spans) == sorted(spans)
    assert numbers.value(EXPORTER_FAILED, "kafka/1") == 1


async def test_encrypted_and_by_name(kafka, topic):
    sasl = {"username": "tracead", "password": "secret", "mechanism": "SCRAM-SHA-512"}
    tls = {"ca_pem": kafka.certificate.read_text()}
    await export(topic, batch("a"), brokers=[kafka.secure], tls=tls, auth={"sasl": sasl})
    assert len(topic.records(1)) == 1


async def test_brokers_that_are_away_are_waited_for():
    settings = Settings(id="kafka/1", kind=Kind.EXPORTER)
    config = KafkaConfig.model_validate({"brokers": ["127.0.0.1:1"], "timeout": "200ms", "retry_on_failure": FAST})
    exporter: Any = FACTORY.build(config, settings, None)
    await exporter.start()
    exporter.drain_timeout = 0.1
    await exporter.consume(Consignment(batch("a"), ()))
    await until(lambda: settings.telemetry.value(EXPORTER_RETRIES, "kafka/1") >= 2)
    await asyncio.wait_for(exporter.shutdown(), 10)
    assert exporter.undelivered == 1


async def test_a_certificate_that_cannot_be_read_keeps_it_from_starting(tmp_path):
    broken = tmp_path / "ca.pem"
    broken.write_text("no certificate")
    config = KafkaConfig.model_validate({"tls": {"ca_file": str(broken)}})
    exporter = FACTORY.build(config, Settings(id="kafka", kind=Kind.EXPORTER), None)
    with pytest.raises(StartError):
        await exporter.start()
    await exporter.shutdown()


@pytest.mark.parametrize(
    "written",
    [
        {"brokers": []},
        {"traces": {"encoding": "jaeger_proto"}},
        {"producer": {"required_acks": 2}},
        {"producer": {"compression": "brotli"}},
        {"producer": {"linger": "6s"}},
        {"include_metadata_keys": ["a"]},
        {"traces": {"message_key_from_metadata_key": "a"}},
        {"record_partitioner": {"round_robin": None}},
        {"record_partitioner": {"extension": "mine"}},
        {"record_partitioner": {"sticky_key": {"hasher": "md5"}}},
        {"auth": {"sasl": {"username": "u", "password": "p", "mechanism": "OAUTHBEARER"}}},
        {"auth": {"sasl": {"username": "u", "password": "", "mechanism": "PLAIN"}}},
        {"auth": {"kerberos": {"realm": "R"}}},
        {"tls": {"server_name_override": "a"}},
        {"protocol_version": "two"},
        {"unknown": 1},
    ],
)
def test_what_is_wrong_is_refused(written: dict) -> None:
    with pytest.raises(ValidationError):
        KafkaConfig.model_validate(written)


def test_what_the_collector_has_left_behind_is_taken_and_named():
    config = KafkaConfig.model_validate(
        {
            "topic": "old",
            "encoding": "otlp_json",
            "auth": {"plain_text": {"username": "u", "password": "p"}, "tls": {"insecure_skip_verify": True}},
        }
    )
    assert (config.record_topic, config.record_encoding) == ("old", "otlp_json")
    assert [line.split()[0] for line in config.deprecated()] == ["auth::plain_text", "auth::tls", "topic", "encoding"]
    properties = config.producer_properties()
    assert properties["security.protocol"] == "SASL_SSL"
    assert (properties["sasl.mechanism"], properties["sasl.password"]) == ("PLAIN", "p")
    assert "'p'" not in str(config)
    both = KafkaConfig.model_validate({"topic": "old", "traces": {"topic": "new"}})
    assert both.record_topic == "new"


def test_records_go_where_the_collector_would_put_them():
    assert KafkaConfig().producer_properties()["partitioner"] == "fnv1a_random"
    java = KafkaConfig.model_validate({"record_partitioner": {"sticky_key": {"hasher": "murmur2"}}})
    assert java.producer_properties()["partitioner"] == "murmur2_random"


def test_idempotent_where_all_replicas_acknowledge():
    for acks, idempotent in (("all", True), (-1, True), (1, False), (0, False)):
        properties = KafkaConfig.model_validate({"producer": {"required_acks": acks}}).producer_properties()
        assert (properties["enable.idempotence"], properties["acks"]) == (idempotent, -1 if idempotent else acks)
