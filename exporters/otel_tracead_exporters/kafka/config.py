"""What a user writes for the `kafka` exporter; keys and defaults are the Collector's, but for what the README says.

Source: opentelemetry-collector-contrib, exporter/kafkaexporter and pkg/kafka/configkafka, 0.155.
"""

from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, field_validator, model_validator

from otel_tracead.component import ComponentConfig
from otel_tracead.config_types import Duration, Headers, NotHere, PositiveSize, WithoutEffect
from otel_tracead.exporting import ExporterConfig
from otel_tracead.kafka.client import Encoding, KafkaClientConfig, Properties, milliseconds

_TRACES_ONLY: Final = WithoutEffect("otel-tracead sends traces only")
_NO_METADATA: Final = NotHere("no component here carries the metadata of requests")
_PARTITIONS: Final = NotHere("records with a key go where its hash says, others where there is room; use sticky_key")


class SignalConfig(ComponentConfig):
    """What is written.

    Attributes:
        topic: where to.
        encoding: of the records' values.
    """

    topic: Annotated[str, Field(min_length=1)] = "otlp_spans"
    encoding: Encoding = "otlp_proto"
    topic_from_metadata_key: Annotated[Any, _NO_METADATA] = None
    message_key_from_metadata_key: Annotated[Any, _NO_METADATA] = None

    @field_validator("encoding", mode="before")
    @classmethod
    def _that_is_here(cls, encoding: object) -> object:
        return _known_encoding(encoding)


class CompressionParams(ComponentConfig):
    """How hard to compress.

    Attributes:
        level: of the codec; 0 and -1 for its own default.
    """

    level: Annotated[int, Field(ge=-1, le=12)] = -1


class ProducerConfig(ComponentConfig):
    """How records are written.

    Attributes:
        max_message_bytes: of the largest record, before compression; what is larger is cut between its spans.
        required_acks: who must have a record before it counts as written: all replicas (`all`, -1), the leader (1), nobody (0).
        compression: of what is written.
        compression_params: how hard.
        flush_max_messages: records of one request to a broker.
        allow_auto_topic_creation: the broker may make a topic that is not there.
        linger: how long a record waits for others.
    """

    max_message_bytes: Annotated[int, Field(ge=1000, le=1_000_000_000)] = 1_000_000
    required_acks: Literal["all", -1, 0, 1] = 1
    compression: Literal["none", "gzip", "snappy", "lz4", "zstd"] = "none"
    compression_params: CompressionParams = CompressionParams()
    flush_max_messages: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000
    allow_auto_topic_creation: bool = True
    linger: Duration = 0.01
    max_broker_write_bytes: Annotated[
        PositiveSize | None, WithoutEffect("a request to a broker is no larger than max_message_bytes")
    ] = None

    @property
    def idempotent(self) -> bool:
        """Whether the brokers drop what librdkafka sends twice: they can where all replicas acknowledge."""
        return self.required_acks in {"all", -1}


class StickyKey(ComponentConfig):
    """By the hash of a record's key.

    Attributes:
        hasher: `sarama_compat` is the Collector's (FNV-1a), `murmur2` that of Kafka's Java clients.
    """

    hasher: Literal["sarama_compat", "murmur2"] = "sarama_compat"


class RecordPartitioner(ComponentConfig):
    """Which partition a record goes to.

    Attributes:
        sticky_key: by the hash of its key; records without one where there is room.
    """

    sticky_key: StickyKey = StickyKey()
    round_robin: Annotated[Any, _PARTITIONS] = None
    least_backup: Annotated[Any, _PARTITIONS] = None
    extension: Annotated[Any, _PARTITIONS] = None

    @model_validator(mode="before")
    @classmethod
    def _named_is_chosen(cls, given: Any) -> Any:
        """Take `round_robin:` and `round_robin: {}` for what they are: a choice, though one without a body."""
        if isinstance(given, dict):
            return {
                key: value or (True if key in {"round_robin", "least_backup"} else value)
                for key, value in given.items()
            }
        return given


class KafkaConfig(KafkaClientConfig, ExporterConfig):
    """The `kafka` exporter.

    Attributes:
        traces: topic and encoding.
        topic: deprecated: write `traces::topic`.
        encoding: deprecated: write `traces::encoding`.
        partition_traces_by_id: each record holds spans of one trace and has its id as key.
        topic_from_attribute: the resource attribute that names the topic; spans whose resource lacks it go to `traces::topic`.
        record_headers: headers of every record.
        producer: how records are written.
        record_partitioner: which partition a record goes to.
    """

    traces: SignalConfig = SignalConfig()
    topic: str | None = None
    encoding: Encoding | None = None
    partition_traces_by_id: bool = False
    topic_from_attribute: str = ""
    record_headers: Headers = Field(default_factory=dict)
    producer: ProducerConfig = ProducerConfig()
    record_partitioner: RecordPartitioner = RecordPartitioner()
    include_metadata_keys: Annotated[Any, _NO_METADATA] = None
    logs: Annotated[Any, _TRACES_ONLY] = None
    metrics: Annotated[Any, _TRACES_ONLY] = None
    profiles: Annotated[Any, _TRACES_ONLY] = None
    partition_metrics_by_resource_attributes: Annotated[bool | None, _TRACES_ONLY] = None
    partition_logs_by_resource_attributes: Annotated[bool | None, _TRACES_ONLY] = None
    partition_logs_by_trace_id: Annotated[bool | None, _TRACES_ONLY] = None

    @field_validator("encoding", mode="before")
    @classmethod
    def _that_is_here(cls, encoding: object) -> object:
        return _known_encoding(encoding)

    @model_validator(mode="after")
    def _lingers_within_the_timeout(self) -> Self:
        if self.timeout and self.producer.linger >= self.timeout:
            raise ValueError("producer::linger must be less than timeout")
        return self

    @property
    def record_topic(self) -> str:
        """The topic of records whose resource names none."""
        return self.topic if self.topic and "topic" not in self.traces.model_fields_set else self.traces.topic

    @property
    def record_encoding(self) -> Encoding:
        """The encoding of the records."""
        named = "encoding" in self.traces.model_fields_set
        return self.encoding if self.encoding and not named else self.traces.encoding

    def deprecated(self) -> list[str]:
        """Say what is written in a way that the Collector has left behind, and how to write it."""
        better = {"topic": (self.topic, "traces::topic"), "encoding": (self.encoding, "traces::encoding")}
        return [
            *super().deprecated(),
            *(f"{key} is deprecated: use {use}" for key, (value, use) in better.items() if value),
        ]

    def producer_properties(self) -> Properties:
        """Give librdkafka's properties for the producer.

        Raises:
            OSError: a certificate cannot be read.
        """
        producer, level = self.producer, self.producer.compression_params.level
        timeout = milliseconds(self.timeout) if self.timeout else 0
        return {
            **self.client_properties(),
            "message.max.bytes": producer.max_message_bytes,
            "batch.size": producer.max_message_bytes,
            "batch.num.messages": producer.flush_max_messages,
            "linger.ms": self.producer.linger * 1000,
            "compression.type": producer.compression,
            **({"compression.level": level} if level > 0 else {}),
            "acks": -1 if producer.idempotent else int(producer.required_acks),
            "enable.idempotence": producer.idempotent,
            "allow.auto.create.topics": producer.allow_auto_topic_creation,
            "partitioner": "murmur2_random"
            if self.record_partitioner.sticky_key.hasher == "murmur2"
            else "fnv1a_random",
            # An attempt that is over is over for librdkafka too; the exporter's own retry begins the next.
            "message.timeout.ms": timeout,
            **({"request.timeout.ms": min(timeout, 300_000)} if timeout else {}),
            "queue.buffering.max.messages": 1_000_000,
            "queue.buffering.max.kbytes": 256 * 1024,
        }


def _known_encoding(encoding: object) -> object:
    if isinstance(encoding, str) and encoding.startswith("jaeger_"):
        raise ValueError(
            f'encoding "{encoding}" is not in otel-tracead: otlp_proto, otlp_json, zipkin_json and zipkin_proto are'
        )
    return encoding
