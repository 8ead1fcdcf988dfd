"""Records that cannot be read, written to a topic of their own: as they came, with headers that say why and whence."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from otel_tracead.errors import RetryableError
from otel_tracead.kafka.errors import meaning
from otel_tracead.receivers.kafka.records import Headers, Poison

PREFIX: Final = "tracead-dead-letter-"
_POLL: Final = 0.05  # seconds
_PATIENCE: Final = 5.0
_LONGEST_REASON: Final = 500


class DeadLetters:
    """Writes poison to a topic; each record is settled once the broker has it, or will never take it.

    Args:
        topic: where to.
        properties: of the client.
        refused: called when the broker will never take a record.
    """

    def __init__(self, topic: str, properties: Mapping[str, Any], refused: Callable[[Poison, Exception], None]) -> None:
        self._topic = topic
        self._refused = refused
        self._pending = 0
        self._wake = asyncio.Event()
        self._producer = Producer({**properties, "acks": "all", "enable.idempotence": True, "linger.ms": 10})

    def put(self, poison: Poison, settle: Callable[[], None]) -> None:
        """Write *poison*, and call *settle* when that is over."""

        def done(error: KafkaError | None, _message: Message) -> None:
            self._pending -= 1
            if error is None:
                settle()
            else:
                failed(meaning(error))

        def failed(wrong: Exception) -> None:
            if isinstance(wrong, RetryableError):
                asyncio.get_running_loop().call_later(1.0, self.put, poison, settle)
            else:
                self._refused(poison, wrong)
                settle()

        record = poison.record
        try:
            self._producer.produce(
                self._topic, value=record.value(), key=record.key(), headers=_headers(poison), on_delivery=done
            )
        except BufferError as error:
            failed(RetryableError(str(error)))
        except KafkaException as error:
            failed(meaning(error))
        else:
            self._pending += 1
            self._wake.set()

    async def run(self) -> None:
        """Serve the producer until cancelled."""
        while True:
            await self._wake.wait()
            while self._pending:
                self._producer.poll(0)
                await asyncio.sleep(_POLL)
            self._wake.clear()

    async def close(self) -> None:
        """Wait a moment for what is under way; what is not written by then is read again by whoever comes next."""
        until = asyncio.get_running_loop().time() + _PATIENCE
        while self._pending and asyncio.get_running_loop().time() < until:
            self._producer.poll(0)
            await asyncio.sleep(_POLL)


def _headers(poison: Poison) -> Headers:
    record = poison.record
    whence = {
        "topic": record.topic(),
        "partition": record.partition(),
        "offset": record.offset(),
        "reason": poison.reason[:_LONGEST_REASON],
    }
    return [*(record.headers() or []), *((f"{PREFIX}{name}", str(value).encode()) for name, value in whence.items())]
