"""What every receiver's HTTP server does alike: its life is that of its listener, and bodies go the one way in."""

from collections.abc import Callable
from typing import Final, Self

from aiohttp import web

from otel_tracead.component import Consumer, Settings
from otel_tracead.errors import InvalidRequest, PipelineError
from otel_tracead.receivers.compression import decompress
from otel_tracead.receivers.http import HttpListener, read_body, text
from otel_tracead.receivers.http_config import HttpListenerConfig
from otel_tracead.receivers.intake import Intake
from otel_tracead.receivers.room import REQUEST, Room
from otel_tracead.wire.batch import SpanBatch

_ROOM: Final = 256 << 20


class HttpServer:
    """Base of the servers that take spans over HTTP; a subclass says how its protocol answers.

    Attributes:
        intake: where bodies go in, and what became of them is counted.
        listener: what it listens with.
    """

    def __init__(self, config: HttpListenerConfig, settings: Settings, consumer: Consumer) -> None:
        self.intake = Intake(settings, consumer, "http")
        self.listener = HttpListener(config, settings, self.handle, self.turn_away)
        self._listens_by = config
        self._room = Room(max(_ROOM, 2 * config.body_limit))

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer *request*."""
        raise NotImplementedError

    def turn_away(self, request: web.BaseRequest, error: PipelineError) -> web.StreamResponse:
        """Answer a request whose sender may not send, or not now, before its body is read."""
        raise NotImplementedError

    @property
    def port(self) -> int:
        """The port that was bound; 0 before the start."""
        return self.listener.port

    async def start(self, drain_timeout: float, before: Self | None) -> None:
        """Listen (see `HttpListener.start`)."""
        await self.listener.start(drain_timeout, None if before is None else before.listener)

    async def retire(self) -> None:
        """Leave the address to a successor (see `HttpListener.retire`)."""
        await self.listener.retire()

    async def stop(self) -> None:
        """Stop listening; requests under way are answered first."""
        await self.listener.stop()

    def refuse(self, status: int, message: str, **headers: str) -> web.Response:
        """Count and answer a request that is for no path, method or content type of ours."""
        self.intake.refuse(InvalidRequest(message))
        return text(status, message, **headers)

    async def receive(self, request: web.BaseRequest, decode: Callable[[bytes], SpanBatch]) -> None:
        """Read the body of *request* and take it in.

        Raises:
            InvalidRequest: it cannot be read, or *decode* says that it is none.
            PipelineError: there is no room for it, or the next consumer did not take its spans.
        """
        config = self._listens_by
        visit = self._room.visit()
        try:
            try:
                visit.take(REQUEST)
                body = await read_body(request, config, visit)
            except PipelineError as error:
                self.intake.refuse(error)
                raise
            encoding = request.headers.get("Content-Encoding", "")
            if not encoding and "" in config.compression_algorithms:
                await self.intake.take(body, decode)
                return

            def unpack(packed: bytes) -> SpanBatch:
                return decode(decompress(encoding, packed, config.body_limit, config.compression_algorithms))

            await self.intake.take(body, unpack, unpacks=True)
        finally:
            visit.leave()
