"""Batches become records: grouped by topic and trace where that is wanted, none larger than the broker takes; pure."""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from otel_tracead.errors import TooLarge
from otel_tracead.exporting.sizing import halves
from otel_tracead.traces.identity import trace_ids
from otel_tracead.wire.batch import Envelope, SpanBatch, group

# What stands beside key and value in librdkafka's count of a record, and in a broker's.
_OVERHEAD: Final = 256
_MOST_TOPICS: Final = 1000
_TOPIC: Final = re.compile(r"[A-Za-z0-9._\-]{1,249}")


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    """What is written.

    Attributes:
        topic: where to.
        key: the trace id in hex, or None.
        value: the spans, encoded.
        batch: the spans.
    """

    topic: str
    key: bytes | None
    value: bytes
    batch: SpanBatch


class RecordCutter:
    """Makes records of batches.

    Args:
        encode: of one record's spans.
        topic: of records whose resource names none.
        topic_from_attribute: the resource attribute that names the topic; empty for none.
        by_trace: one trace a record, with its id as key.
        max_bytes: of a record.
    """

    def __init__(
        self,
        encode: Callable[[SpanBatch], bytes],
        topic: str,
        *,
        topic_from_attribute: str = "",
        by_trace: bool = False,
        max_bytes: int = 1_000_000,
    ) -> None:
        self._encode = encode
        self._topic = topic
        self._attribute = topic_from_attribute
        self._by_trace = by_trace
        self._most = max_bytes - _OVERHEAD
        self._topics = {topic}

    def cut(self, batch: SpanBatch) -> list[Record]:
        """Make records of *batch*; together they hold every span of it once.

        Raises:
            TooLarge: a span alone is larger than a record may be.
        """
        records: list[Record] = []
        for topic, of_topic in self._by_topic(batch):
            for key, spans in _by_trace(of_topic) if self._by_trace else ((None, of_topic),):
                records += self.fitting(topic, key, spans)
        return records

    def fitting(self, topic: str, key: bytes | None, batch: SpanBatch) -> Iterator[Record]:
        """Make as few records of *batch* as halving it gives.

        Raises:
            TooLarge: a span alone is larger than a record may be.
        """
        spans = len(batch)
        if spans == 1 or batch.size() <= self._most:  # else it need not be encoded to know
            value = self._encode(batch)
            if len(value) + len(key or b"") <= self._most:
                yield Record(topic, key, value, batch)
                return
            if spans == 1:
                raise TooLarge(f"a span of {len(value)} bytes is larger than producer::max_message_bytes allows")
        for half in halves(batch):
            yield from self.fitting(topic, key, half)

    def _by_topic(self, batch: SpanBatch) -> Iterable[tuple[str, SpanBatch]]:
        if not self._attribute:
            return [(self._topic, batch)]
        topics: dict[str, SpanBatch] = {}
        for envelope, spans in batch.groups:
            topics.setdefault(self._named(envelope), SpanBatch()).groups.append((envelope, spans))
        return topics.items()

    def _named(self, envelope: Envelope) -> str:
        """Give the topic that a resource names, if it is a name and not one too many: it comes from outside."""
        name = envelope.attributes.get(self._attribute, "")
        if name in self._topics:
            return name
        if len(self._topics) >= _MOST_TOPICS or _TOPIC.fullmatch(name) is None or name in {".", ".."}:
            return self._topic
        self._topics.add(name)
        return name


def _by_trace(batch: SpanBatch) -> Iterator[tuple[bytes | None, SpanBatch]]:
    """Group spans by trace, in order of appearance; those without valid ids are no trace and have no key."""
    traces: dict[bytes, tuple[list[Envelope], list[bytes]]] = {}
    for envelope, spans in batch.groups:
        for span, trace_id in zip(spans, trace_ids(spans), strict=True):
            envelopes, found = traces.setdefault(trace_id, ([], []))
            envelopes.append(envelope)
            found.append(span)
    for trace_id, (envelopes, found) in traces.items():
        # Lower-case hex, as the Collector writes it: both find the same partition.
        yield (trace_id.hex().encode() or None), group(envelopes, found)
