"""Records become batches of spans: what was polled together goes on together, partition by partition."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Final, Protocol

from otel_tracead.errors import InvalidRequest
from otel_tracead.receivers.kafka.partition import Partition, RecordDelivery
from otel_tracead.wire.batch import SpanBatch

MAX_RECORDS: Final = 500
MAX_BYTES: Final = 4 * 1024 * 1024

Headers = list[tuple[str, str | bytes | None]]


class Record(Protocol):
    """What is needed of confluent_kafka's Message."""

    def topic(self) -> str | None: ...  # noqa: D102
    def partition(self) -> int | None: ...  # noqa: D102
    def offset(self) -> int | None: ...  # noqa: D102
    def key(self) -> bytes | None: ...  # noqa: D102
    def value(self) -> bytes | None: ...  # noqa: D102
    def headers(self) -> Any: ...  # noqa: D102


@dataclass(frozen=True, slots=True, eq=False)
class Poison:
    """A record that cannot be read.

    Attributes:
        record: as it came.
        reason: why not; says nothing of what is in it but where it went wrong.
    """

    record: Record
    reason: str


@dataclass(slots=True, eq=False)
class Chunk:
    """Records of one partition on their way into the pipeline.

    Attributes:
        partition: theirs.
        delivery: the receipt.
        records: how many.
        size: bytes of their values.
        batch: their spans.
        poison: those among them that cannot be read.
        duplicates: how many of them were the same as an earlier one, and are left out.
    """

    partition: Partition
    delivery: RecordDelivery
    records: int = 0
    size: int = 0
    batch: SpanBatch = field(default_factory=SpanBatch)
    poison: list[Poison] = field(default_factory=list)
    duplicates: int = 0


class Recent:
    """The values of the records that were read last: a producer that hears nothing sends again, within seconds.

    Args:
        limit: how many are remembered.
    """

    def __init__(self, limit: int = 32_768) -> None:
        self._limit = limit
        self._seen: OrderedDict[tuple[int, bytes], None] = OrderedDict()

    def is_new(self, partition: Partition, value: bytes) -> bool:
        """Say whether *value* was not read from *partition* shortly before, while it was ours as it is now."""
        key = (partition.assignment, blake2b(value, digest_size=16).digest())
        if key in self._seen:
            return False
        self._seen[key] = None
        if len(self._seen) > self._limit:
            self._seen.popitem(last=False)
        return True


class Reader:
    """Makes chunks of records.

    Args:
        decode: makes spans of a record's value; raises InvalidRequest.
        max_record_size: bytes; a larger value is poison.
    """

    def __init__(self, decode: Callable[[bytes], SpanBatch], max_record_size: int) -> None:
        self._decode = decode
        self._max = max_record_size
        self._recent = Recent()

    def chunks(self, records: Iterable[Record], partitions: Mapping[tuple[str, int], Partition]) -> Iterator[Chunk]:
        """Cut *records* into chunks; those of partitions that are not ours are left out, others will read them.

        Each chunk lies on one side of what was handed on before the partition became ours.
        """
        by_partition: dict[tuple[str, int], list[tuple[int, Record]]] = {}
        for record in records:
            topic, number, offset = record.topic(), record.partition(), record.offset()
            if topic is not None and number is not None and offset is not None:
                by_partition.setdefault((topic, number), []).append((offset, record))
        for key, read in by_partition.items():
            partition = partitions.get(key)
            if partition is not None:
                for part in _cut(read, partition):
                    yield self._chunk(partition, part)

    def _chunk(self, partition: Partition, read: Sequence[tuple[int, Record]]) -> Chunk:
        chunk = Chunk(partition, partition.read(read[0][0], read[-1][0] + 1))
        for _, record in read:
            value = record.value() or b""
            chunk.records += 1
            chunk.size += len(value)
            if value and not self._recent.is_new(partition, value):
                chunk.duplicates += 1
                continue
            if len(value) > self._max:
                reason = f"{len(value)} bytes, more than max_record_size ({self._max})"
                chunk.poison.append(Poison(record, reason))
                continue
            try:
                chunk.batch.groups.extend(self._decode(value).groups if value else ())
            except InvalidRequest as error:
                chunk.poison.append(Poison(record, str(error)))
            except Exception as error:  # noqa: BLE001 (a decoder's mistake must not stop the partition)
                chunk.poison.append(Poison(record, f"internal error while decoding: {type(error).__name__}"))
        return chunk


def _cut(read: Sequence[tuple[int, Record]], partition: Partition) -> Iterator[Sequence[tuple[int, Record]]]:
    part: list[tuple[int, Record]] = []
    size = 0
    for offset, record in read:
        crosses = part and part[0][0] < partition.handed_on_before <= offset
        anew = part and offset <= part[-1][0]
        if part and (crosses or anew or len(part) == MAX_RECORDS or size >= MAX_BYTES):
            yield part
            part, size = [], 0
        part.append((offset, record))
        size += len(record.value() or b"")
    if part:
        yield part
