"""What a user writes for the `kafka` receiver; keys and defaults are the Collector's, but for what the README says.

Source: opentelemetry-collector-contrib, receiver/kafkareceiver and pkg/kafka/configkafka, 0.155.
"""

import re
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, field_validator, model_validator

from otel_tracead.component import ComponentConfig
from otel_tracead.config_types import Duration, NotHere, PositiveDuration, PositiveSize, Size, WithoutEffect
from otel_tracead.kafka.client import Encoding, KafkaClientConfig, List, Properties, milliseconds

COOPERATIVE: Final = "cooperative-sticky"
_TRACES_ONLY: Final = WithoutEffect("otel-tracead takes traces only")
_ALWAYS_AFTER: Final = WithoutEffect("an offset is committed once its spans are handed on, and never before")
_NEVER_SKIPS: Final = WithoutEffect(
    "what is refused for now is tried again; what can never be taken is counted and left"
)
_STRATEGIES: Final = ("range", "roundrobin", COOPERATIVE)
_TOPIC: Final = re.compile(r"[A-Za-z0-9._\-]{1,249}")


class TracesConfig(ComponentConfig):
    """What is read.

    Attributes:
        topics: names; one that starts with `^` is a regular expression.
        encoding: of the records' values.
        exclude_topics: regular expressions of topics that one in `topics` shall not find.
        topic: deprecated: write `topics`.
        exclude_topic: deprecated: write `exclude_topics`.
    """

    topics: Annotated[List, Field(min_length=1)] = ("otlp_spans",)
    encoding: Encoding = "otlp_proto"
    exclude_topics: List = ()
    topic: str | None = None
    exclude_topic: str | None = None

    @field_validator("encoding", mode="before")
    @classmethod
    def _that_is_here(cls, encoding: object) -> object:
        return _known_encoding(encoding)

    @property
    def subscription(self) -> list[str]:
        """The topics to subscribe to."""
        return [self.topic] if self.topic else list(self.topics)

    @property
    def excluded(self) -> list[str]:
        """The topics to leave out."""
        return [self.exclude_topic] if self.exclude_topic else list(self.exclude_topics)

    @model_validator(mode="after")
    def _exclude_from_a_pattern(self) -> Self:
        if not self.excluded:
            return self
        if not any(topic.startswith("^") for topic in self.subscription):
            raise ValueError(
                "exclude_topics is configured but none of the configured topics use regex pattern (must start with '^')"
            )
        if not all(self.excluded):
            raise ValueError("exclude_topics contains empty string, which would match all topics")
        for pattern in self.excluded:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"exclude_topics contains invalid regex pattern: {error}") from error
            if "," in pattern:
                raise ValueError("a comma in exclude_topics is not in otel-tracead: write two patterns")
        return self


class AutoCommit(ComponentConfig):
    """When the offsets of what was handed on are told to the broker.

    Attributes:
        enable: off tells them as soon as possible, instead of once an interval.
        interval: how often.
    """

    enable: bool = True
    interval: PositiveDuration = 1.0


class MessageMarking(ComponentConfig):
    """Has no effect: see the README."""

    after: Annotated[bool | None, _ALWAYS_AFTER] = None
    on_error: Annotated[bool | None, _NEVER_SKIPS] = None
    on_permanent_error: Annotated[bool | None, _NEVER_SKIPS] = None


class ErrorBackoff(ComponentConfig):
    """How long records wait that the pipeline does not take now.

    Attributes:
        initial_interval: the first wait.
        max_interval: no wait is longer.
        multiplier: each wait is this many times the one before.
    """

    enabled: Annotated[bool | None, WithoutEffect("what is refused for now is always tried again")] = None
    initial_interval: PositiveDuration = 0.05
    max_interval: PositiveDuration = 1.0
    multiplier: Annotated[float, Field(ge=1)] = 2.0
    randomization_factor: Annotated[float | None, WithoutEffect("one process waits for itself")] = None
    max_elapsed_time: Annotated[Duration | None, WithoutEffect("records are never given up because of time")] = None


class HeaderExtraction(ComponentConfig):
    """Not here."""

    extract_headers: Annotated[Any, NotHere("a resource leaves byte for byte as it came")] = None
    headers: Annotated[Any, NotHere("a resource leaves byte for byte as it came")] = None


class DeadLetter(ComponentConfig):
    """Where records go that cannot be read. Not a key of the Collector.

    Attributes:
        topic: gets each such record as it came (key, value and headers), with headers that say why and whence.
    """

    topic: str

    @field_validator("topic")
    @classmethod
    def _is_a_name(cls, topic: str) -> str:
        if _TOPIC.fullmatch(topic) is None:
            raise ValueError(f'"{topic}" is no topic name: letters, digits, ".", "_" and "-", at most 249')
        return topic


class KafkaReceiverConfig(KafkaClientConfig):
    """The `kafka` receiver.

    Attributes:
        traces: topics and encoding.
        topic: deprecated: write `traces::topics`.
        encoding: deprecated: write `traces::encoding`.
        group_id: the consumer group; its members share the partitions.
        group_instance_id: makes this process a static member: it keeps its partitions over a restart.
        group_rebalance_strategies: how partitions are given to members, the most wanted first.
        group_rebalance_strategy: deprecated: write `group_rebalance_strategies`.
        initial_offset: where a group begins that has committed nothing.
        session_timeout: a member that is silent for so long is taken for dead.
        heartbeat_interval: how often it says that it is not.
        min_fetch_size: bytes that the broker waits for.
        max_fetch_size: bytes of one answer; 0 for librdkafka's own limit, 50 MiB.
        max_fetch_wait: how long the broker waits for `min_fetch_size`.
        max_partition_fetch_size: bytes of one answer from one partition; a larger record comes all the same.
        default_fetch_size: deprecated: write `max_partition_fetch_size`.
        autocommit: when offsets are committed.
        message_marking: has no effect.
        error_backoff: how long records wait that the pipeline does not take now.
        max_record_size: bytes of the largest record value; not a key of the Collector.
        dead_letter: where records go that cannot be read; absent counts them and says where they stand.
    """

    traces: TracesConfig = TracesConfig()
    topic: str | None = None
    encoding: Encoding | None = None
    group_id: Annotated[str, Field(min_length=1)] = "otel-collector"
    group_instance_id: str = ""
    group_rebalance_strategies: Annotated[List, Field(min_length=1)] = (COOPERATIVE,)
    group_rebalance_strategy: str | None = None
    initial_offset: Literal["latest", "earliest"] = "latest"
    session_timeout: PositiveDuration = 10.0
    heartbeat_interval: PositiveDuration = 3.0
    min_fetch_size: Size = 1
    max_fetch_size: Size = 1048576
    max_fetch_wait: PositiveDuration = 0.25
    max_partition_fetch_size: PositiveSize = 1048576
    default_fetch_size: PositiveSize | None = None
    autocommit: AutoCommit = AutoCommit()
    message_marking: MessageMarking = MessageMarking()
    error_backoff: ErrorBackoff = ErrorBackoff()
    max_record_size: PositiveSize = 20 * 1024 * 1024
    dead_letter: DeadLetter | None = None
    header_extraction: HeaderExtraction | None = None
    logs: Annotated[Any, _TRACES_ONLY] = None
    metrics: Annotated[Any, _TRACES_ONLY] = None
    profiles: Annotated[Any, _TRACES_ONLY] = None
    telemetry: Annotated[Any, WithoutEffect("the metrics of docs/metrics.md are always there")] = None

    @field_validator("encoding", mode="before")
    @classmethod
    def _that_is_here(cls, encoding: object) -> object:
        return _known_encoding(encoding)

    @field_validator("group_rebalance_strategies")
    @classmethod
    def _strategies(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            _check_strategy(name)
        if COOPERATIVE in names and len(names) > 1:
            raise ValueError(
                f"{COOPERATIVE} stands alone in otel-tracead: librdkafka moves a group to it only while no member runs"
            )
        return names

    @field_validator("group_rebalance_strategy")
    @classmethod
    def _strategy(cls, name: str | None) -> str | None:
        if name:
            _check_strategy(name)
        return name

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.group_rebalance_strategy and "group_rebalance_strategies" in self.model_fields_set:
            raise ValueError(
                "group_rebalance_strategy and group_rebalance_strategies are mutually exclusive; "
                "group_rebalance_strategy is deprecated, prefer group_rebalance_strategies"
            )
        if 0 < self.max_fetch_size < self.min_fetch_size:
            raise ValueError(
                f"max_fetch_size ({self.max_fetch_size}) cannot be less than min_fetch_size ({self.min_fetch_size})"
            )
        if self.heartbeat_interval >= self.session_timeout:
            raise ValueError("heartbeat_interval must be less than session_timeout")
        return self

    @property
    def topics(self) -> list[str]:
        """The topics to subscribe to."""
        named = {"topics", "topic"} & self.traces.model_fields_set
        return [self.topic] if self.topic and not named else self.traces.subscription

    @property
    def record_encoding(self) -> Encoding:
        """The encoding of the records."""
        named = "encoding" in self.traces.model_fields_set
        return self.encoding if self.encoding and not named else self.traces.encoding

    @property
    def cooperative(self) -> bool:
        """Whether partitions move one by one instead of all at once."""
        return self._strategy_names() == [COOPERATIVE]

    def deprecated(self) -> list[str]:
        """Say what is written in a way that the Collector has left behind, and how to write it."""
        better = {
            "topic": (self.topic, "traces::topics"),
            "encoding": (self.encoding, "traces::encoding"),
            "traces::topic": (self.traces.topic, "traces::topics"),
            "traces::exclude_topic": (self.traces.exclude_topic, "traces::exclude_topics"),
            "group_rebalance_strategy": (self.group_rebalance_strategy, "group_rebalance_strategies"),
            "default_fetch_size": (self.default_fetch_size, "max_partition_fetch_size"),
        }
        return [
            *super().deprecated(),
            *(f"{key} is deprecated: use {use}" for key, (value, use) in better.items() if value),
        ]

    def consumer_properties(self) -> Properties:
        """Give librdkafka's properties for the consumer.

        Raises:
            OSError: a certificate cannot be read.
        """
        fetch = max(1000, self.max_fetch_size or 50 * 1024 * 1024)  # librdkafka takes no less
        session = milliseconds(self.session_timeout)
        return {
            **self.client_properties(),
            "group.id": self.group_id,
            **({"group.instance.id": self.group_instance_id} if self.group_instance_id else {}),
            "partition.assignment.strategy": ",".join(self._strategy_names()),
            "session.timeout.ms": session,
            "heartbeat.interval.ms": milliseconds(self.heartbeat_interval),
            "max.poll.interval.ms": max(300_000, session),
            "fetch.min.bytes": max(1, self.min_fetch_size),
            "fetch.max.bytes": fetch,
            "message.max.bytes": min(fetch, 1_000_000),
            "receive.message.max.bytes": max(100_000_000, fetch + 512),
            "fetch.wait.max.ms": milliseconds(self.max_fetch_wait),
            "max.partition.fetch.bytes": self.default_fetch_size or self.max_partition_fetch_size,
            **({"topic.blacklist": ",".join(self.traces.excluded)} if self.traces.excluded else {}),
            # Offsets are ours to commit. One that the broker no longer has: go on with the oldest that it has.
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "earliest",
            # What is fetched ahead; more would only be memory.
            "queued.min.messages": 10_000,
            "queued.max.messages.kbytes": 32 * 1024,
        }

    def _strategy_names(self) -> list[str]:
        return (
            [self.group_rebalance_strategy] if self.group_rebalance_strategy else list(self.group_rebalance_strategies)
        )


def _known_encoding(encoding: object) -> object:
    if isinstance(encoding, str) and encoding.startswith(("jaeger_", "zipkin_thrift")):
        raise ValueError(
            f'encoding "{encoding}" is not in otel-tracead: otlp_proto, otlp_json, zipkin_json and zipkin_proto are'
        )
    return encoding


def _check_strategy(name: str) -> None:
    if name == "sticky":
        raise ValueError(
            f"sticky is not in otel-tracead: librdkafka has {COOPERATIVE}, which keeps as much and stops less"
        )
    if name not in _STRATEGIES:
        raise ValueError(f'"{name}" is no strategy that otel-tracead has: {", ".join(_STRATEGIES)}')
