"""What every receiver's HTTP server does alike: its life is that of its listener, and bodies go the one way in."""

from collections.abc import Callable
from typing import Self

from aiohttp import web

from otel_tracead.component import Consumer, Settings
from otel_tracead.errors import InvalidRequest, Unauthenticated
from otel_tracead.receivers.http import HttpListener, read_body, text
from otel_tracead.receivers.http_config import HttpListenerConfig
from otel_tracead.receivers.intake import Intake
from otel_tracead.wire.batch import SpanBatch


class HttpServer:
    """Base of the servers that take spans over HTTP; a subclass says how its protocol answers.

    Attributes:
        intake: where bodies go in, and what became of them is counted.
        listener: what it listens with.
    """

    def __init__(self, config: HttpListenerConfig, settings: Settings, consumer: Consumer) -> None:
        self.intake = Intake(settings, consumer, "http")
        self.listener = HttpListener(config, settings, self.handle, self.unauthenticated)
        self._listens_by = config

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer *request*."""
        raise NotImplementedError

    def unauthenticated(self, request: web.Request, error: Unauthenticated) -> web.StreamResponse:
        """Answer a request whose sender may not send, before its body is read."""
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

    async def receive(self, request: web.Request, decode: Callable[[bytes], SpanBatch]) -> None:
        """Read the body of *request* and take it in.

        Raises:
            InvalidRequest: it cannot be read, or *decode* says that it is none.
            PipelineError: the next consumer did not take its spans.
        """
        try:
            body = await read_body(request, self._listens_by)
        except InvalidRequest as error:
            self.intake.refuse(error)
            raise
        await self.intake.take(body, decode)
