"""What every network receiver does, whatever it speaks; a test class inherits this and says how to send."""

import asyncio
import gc
import gzip
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import cramjam
import pytest
import structlog
import zstandard

from otel_tracead.component import Component, Factory, Kind, Settings
from otel_tracead.config_types import Endpoint
from otel_tracead.delivery import Consignment
from otel_tracead.errors import Backpressure, PermanentError, RetryableError
from otel_tracead.metrics import RECEIVER_ACCEPTED, RECEIVER_FAILED, RECEIVER_REFUSED, RECEIVER_REQUESTS
from otel_tracead.telemetry import Telemetry
from otel_tracead.testing import RecordingConsumer
from otel_tracead.wire.batch import SpanBatch

COMPRESS = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "zlib": zlib.compress,
    "zstd": lambda body: zstandard.ZstdCompressor().compress(body),
    "snappy": lambda body: bytes(cramjam.snappy.compress_raw(body)),
    "x-snappy-framed": lambda body: bytes(cramjam.snappy.compress(body)),
    "lz4": lambda body: bytes(cramjam.lz4.compress(body)),
}


@dataclass
class Reply:
    """What came back: the status as the protocol has it, and the hint when to come back."""

    status: int | str
    retry_after: float | None = None


@dataclass
class Running:
    receiver: Any
    consumer: RecordingConsumer
    telemetry: Telemetry
    logs: list[dict[str, Any]]

    @property
    def port(self) -> int:
        return next(iter(self.receiver.ports.values()))


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what other tasks do."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 (no event tells)
            await asyncio.sleep(0.005)


def batches() -> int:
    return sum(type(one) is SpanBatch for one in gc.get_objects())  # `isinstance` asks some what they are


class ReceiverContract:
    factory: ClassVar[Factory[Any]]
    transport: ClassVar[str]
    limit: ClassVar[int]
    encodings: ClassVar[tuple[str, ...]] = tuple(COMPRESS)
    ok: ClassVar[int | str]
    invalid: ClassVar[int | str]
    too_large: ClassVar[int | str]
    unknown_encoding: ClassVar[int | str]
    backpressure: ClassVar[int | str]
    permanent: ClassVar[int | str]
    transient: ClassVar[int | str]

    def config(self, endpoint: str) -> dict[str, Any]:
        raise NotImplementedError

    def body(self, spans: int, name: str = "operation") -> bytes:
        raise NotImplementedError

    async def send(self, port: int, body: bytes, encoding: str = "", compressed: bytes | None = None) -> Reply:
        """Send *body* in *encoding* (or *compressed* as it is, said to be in *encoding*)."""
        raise NotImplementedError

    @pytest.fixture
    async def running(self):
        running = self.make("127.0.0.1:0")
        await running.receiver.start()
        yield running
        await running.receiver.shutdown()

    def make(self, endpoint: str, **changes: Any) -> Running:
        logs = structlog.testing.LogCapture()
        logger = structlog.wrap_logger(structlog.testing.ReturnLogger(), processors=[logs])
        settings = Settings(id="in/1", kind=Kind.RECEIVER, logger=logger)
        consumer = RecordingConsumer()
        config = self.factory.config.model_validate({**self.config(endpoint), **changes})
        receiver = self.factory.build(config, settings, consumer)
        return Running(receiver, consumer, settings.telemetry, logs.entries)

    def requests(self, running: Running, outcome: str) -> float:
        return running.telemetry.value(RECEIVER_REQUESTS, "in/1", self.transport, outcome)

    async def assert_serves(self, running: Running) -> None:
        before = len(running.consumer.spans)
        assert (await self.send(running.port, self.body(2))).status == self.ok
        assert len(running.consumer.spans) == before + 2

    async def test_takes_spans_and_counts_them(self, running: Running) -> None:
        assert isinstance(running.receiver, Component)
        assert (await self.send(running.port, self.body(3))).status == self.ok
        assert len(running.consumer.spans) == 3
        assert running.telemetry.value(RECEIVER_ACCEPTED, "in/1", self.transport) == 3
        assert self.requests(running, "success") == 1

    async def test_no_spans_are_a_success_that_nobody_hears_of(self, running: Running) -> None:
        assert (await self.send(running.port, self.body(0))).status == self.ok
        assert running.consumer.batches == []
        assert self.requests(running, "success") == 1

    async def test_takes_every_compression(self, running: Running) -> None:
        for encoding in self.encodings:
            assert (await self.send(running.port, self.body(2), encoding)).status == self.ok, encoding
        assert len(running.consumer.spans) == 2 * len(self.encodings)

    async def test_a_request_that_was_refused_leaves_nothing_for_the_garbage_collector(
        self, running: Running, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It comes round rarely in a stage, and requests are refused when memory is short."""

        def admit(_spans: int) -> None:
            raise Backpressure("full")

        async def consume(_consignment: Consignment) -> None:
            raise Backpressure("full")

        gc.collect()
        before = batches()
        gc.disable()
        try:
            monkeypatch.setattr(running.consumer, "consume", consume)
            assert (await self.send(running.port, self.body(2))).status == self.backpressure
            monkeypatch.setattr(running.consumer, "admit", admit)
            assert (await self.send(running.port, self.body(2))).status == self.backpressure
            await until(lambda: batches() == before)
        finally:
            gc.enable()

    async def test_a_broken_body_is_refused_and_the_next_one_served(self, running: Running) -> None:
        await self.assert_serves(running)
        for broken in (b"\xff\xff\xff", self.body(2)[:-1], b"[[[[", b"{" * 50_000):
            assert (await self.send(running.port, broken)).status == self.invalid
        assert self.requests(running, "invalid") == 4
        await self.assert_serves(running)

    async def test_a_body_that_is_not_in_its_encoding_is_refused(self, running: Running) -> None:
        for encoding in self.encodings:
            packed = COMPRESS[encoding](self.body(2))
            for broken in (packed[:-4], b"no " + packed):
                reply = await self.send(running.port, b"", encoding, broken)
                assert reply.status in (self.invalid, "INTERNAL"), encoding  # gRPC itself answers INTERNAL
        await self.assert_serves(running)

    async def test_an_unknown_encoding_is_refused(self, running: Running) -> None:
        reply = await self.send(running.port, b"", "br", b"\x0b\x02\x80hello\x03")
        assert reply.status == self.unknown_encoding
        await self.assert_serves(running)

    async def test_too_large_before_decompression(self, running: Running) -> None:
        await self.assert_serves(running)
        assert (await self.send(running.port, self.body(1, "x" * self.limit))).status == self.too_large
        await self.assert_serves(running)

    async def test_too_large_after_decompression(self, running: Running) -> None:
        body = self.body(1, "x" * 10 * self.limit)
        for encoding in self.encodings:
            assert len(COMPRESS[encoding](body)) < self.limit
            assert (await self.send(running.port, body, encoding)).status == self.too_large, encoding
        await self.assert_serves(running)

    async def test_a_full_pipeline_answers_with_a_hint_when_to_come_back(self, running: Running) -> None:
        running.consumer.refusal = Backpressure("full", retry_after=7.0)
        reply = await self.send(running.port, self.body(4))
        assert (reply.status, reply.retry_after) == (self.backpressure, 7.0)
        running.consumer.refusal = None
        running.consumer.failures.append(Backpressure("full"))
        reply = await self.send(running.port, self.body(4))
        assert (reply.status, reply.retry_after) == (self.backpressure, 1.0)
        assert running.consumer.spans == []
        assert running.telemetry.value(RECEIVER_REFUSED, "in/1", self.transport) == 8
        assert self.requests(running, "refused") == 2
        await self.assert_serves(running)

    async def test_errors_downstream(self, running: Running) -> None:
        running.consumer.failures += [PermanentError("never"), RetryableError("later"), RuntimeError("oops /etc/pass")]
        replies = [await self.send(running.port, self.body(2)) for _ in range(3)]
        assert [reply.status for reply in replies] == [self.permanent, self.transient, self.transient]
        assert running.telemetry.value(RECEIVER_FAILED, "in/1", self.transport) == 4
        assert running.telemetry.value(RECEIVER_REFUSED, "in/1", self.transport) == 2
        await self.assert_serves(running)

    async def test_shutdown_answers_what_is_under_way_and_takes_no_more(self, running: Running) -> None:
        port = running.port
        running.consumer.gate.clear()
        under_way = [asyncio.create_task(self.send(port, self.body(1))) for _ in range(3)]
        await until(lambda: self.under_way() == 3)
        stopping = asyncio.create_task(running.receiver.shutdown())
        await asyncio.sleep(0.05)
        running.consumer.gate.set()
        assert [(await reply).status for reply in under_way] == [self.ok] * 3
        await stopping
        assert len(running.consumer.spans) == 3
        await running.receiver.shutdown()
        with pytest.raises(Exception):  # noqa: B017 (each client has its own)
            assert (await self.send(port, self.body(1))).status != "UNAVAILABLE"

    @staticmethod
    def under_way() -> int:
        return sum("_hand_on" in repr(task.get_coro()) for task in asyncio.all_tasks())

    async def test_shutdown_without_start(self) -> None:
        await self.make("127.0.0.1:0").receiver.shutdown()

    async def test_a_port_in_use_says_which(self, running: Running) -> None:
        other = self.make(f"127.0.0.1:{running.port}")
        with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{running.port}"):
            await other.receiver.start()
        await other.receiver.shutdown()
        await self.assert_serves(running)

    async def test_warns_when_everybody_can_reach_it(self) -> None:
        running = self.make("0.0.0.0:0")
        await running.receiver.start()
        warned = [entry for entry in running.logs if entry["log_level"] == "warning"]
        assert [entry["endpoint"] for entry in warned] == ["0.0.0.0:0"]
        await running.receiver.shutdown()

    async def test_listens_on_loopback_by_default(self, running: Running) -> None:
        assert [entry for entry in running.logs if entry["log_level"] == "warning"] == []
        assert self.default_endpoint() == Endpoint("localhost", self.default_endpoint().port)

    def default_endpoint(self) -> Endpoint:
        raise NotImplementedError
