"""The life of a receiver that listens: its servers start together and drain together, and each may have a successor.

When the configuration changes, a server that it says nothing new of listens on. Another one gets a successor, which listens on
the same address before the old one leaves it: the two share the socket (HTTP) or the port (gRPC), and no connection is refused.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic import BaseModel

from otel_tracead.component import Consumer, Settings
from otel_tracead.fingerprint import fingerprint, names


class Server(Protocol):
    """Listens on one address and answers in one protocol."""

    @property
    def port(self) -> int:
        """The port that was bound; 0 before the start."""

    async def start(self, drain_timeout: float, before: Any) -> None:
        """Listen; `stop` will wait up to *drain_timeout* seconds for requests under way.

        Args:
            drain_timeout: in seconds.
            before: the server of the same class whose successor this is, or None.

        Raises:
            OSError: the address cannot be bound, or a certificate cannot be read.
        """

    async def retire(self) -> None:
        """Leave the address to the successor that listens on it already, and have the clients go to it; then stop."""

    async def stop(self) -> None:
        """Stop listening, let requests under way end, close the connections. Idempotent."""


@dataclass(frozen=True, slots=True)
class _Standing:
    """A server, and all that it was made of."""

    server: Server
    made_of: tuple[object, ...]


class NetworkReceiver:
    """Base of receivers that listen; a subclass says by `servers` on what.

    Attributes:
        drain_timeout: seconds that `shutdown` gives requests under way.
    """

    drain_timeout = 10.0

    def __init__(self, config: Any, settings: Settings, consumer: Consumer) -> None:
        self._logger = settings.logger
        self._consumer = consumer
        self._servers = {
            protocol: _Standing(make(), _made_of(part, settings))
            for protocol, (part, make) in self.servers(config, settings, consumer).items()
        }
        self._leaving: dict[asyncio.Task[None], Server] = {}

    @staticmethod
    def servers(
        config: Any, settings: Settings, consumer: Consumer
    ) -> Mapping[str, tuple[BaseModel, Callable[[], Server]]]:
        """Give by protocol what *config* says of it, and what makes its server."""
        raise NotImplementedError

    @property
    def ports(self) -> dict[str, int]:
        """The bound port of each protocol; 0 before the start."""
        return {protocol: standing.server.port for protocol, standing in self._servers.items()}

    async def start(self) -> None:
        """Listen on every endpoint.

        Raises:
            OSError: an endpoint cannot be bound, or a certificate cannot be read.
        """
        try:
            for standing in self._servers.values():
                await standing.server.start(self.drain_timeout, None)
        except BaseException:
            await self.shutdown()
            raise
        self._logger.info("receiver listens", **self.ports)

    @asynccontextmanager
    async def revision(self, config: Any, settings: Settings) -> AsyncIterator[None]:
        """Go on with another configuration; see `otel_tracead.component.Revisable`.

        Raises:
            OSError: as `start`.
        """
        servers: dict[str, _Standing] = {}
        new: list[Server] = []
        try:
            for protocol, (part, make) in self.servers(config, settings, self._consumer).items():
                before, made_of = self._servers.get(protocol), _made_of(part, settings)
                if before is not None and before.made_of == made_of:
                    servers[protocol] = before
                    continue
                server = make()
                new.append(server)
                servers[protocol] = _Standing(server, made_of)
                await server.start(self.drain_timeout, None if before is None else before.server)
            yield
        except BaseException:
            for server in new:
                await server.stop()
            raise
        for protocol, standing in self._servers.items():
            if servers.get(protocol) is not standing:
                leave = standing.server.retire if protocol in servers else standing.server.stop
                task = asyncio.create_task(leave())
                self._leaving[task] = standing.server
                task.add_done_callback(self._leaving.pop)
        self._servers = servers
        if new:
            self._logger.info("receiver listens", **self.ports)

    async def shutdown(self) -> None:
        """Stop listening; requests under way are answered first."""
        leaving = dict(self._leaving)
        for server in (*leaving.values(), *(standing.server for standing in self._servers.values())):
            await server.stop()
        await asyncio.gather(*leaving)


def _made_of(part: BaseModel, settings: Settings) -> tuple[object, ...]:
    extensions = [settings.extensions[name] for name in sorted(names(part)) if name in settings.extensions]
    return (*fingerprint(part), *extensions)
