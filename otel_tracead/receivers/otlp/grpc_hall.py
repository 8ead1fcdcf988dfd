"""What all connections of a gRPC server share: how they are kept, where requests go, and the room that these take."""

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from otel_tracead.component import ServerAuthenticator
from otel_tracead.receivers.intake import Intake
from otel_tracead.receivers.otlp.config import KeepaliveServer
from otel_tracead.wire.batch import SpanBatch

# How long a request may take to come whole when there is no room for others.
_PATIENCE: Final = 10.0


class Guest(Protocol):
    """What a hall knows of a connection."""

    def refuse_slow(self, before: float) -> None:
        """Refuse the requests that began to come *before* and have not come whole."""

    def drain(self) -> None:
        """Take no further requests, and close when those under way are answered."""

    def cut(self) -> None:
        """Close at once."""


class Hall:
    """What all connections of a server share.

    Args:
        intake: where requests go.
        authenticator: says who may send; None for everybody.
        decode: reads the bytes of a message.
        limit: bytes of a message.
        streams: requests at a time on one connection.
        keepalive: how connections are kept.
        room: bytes of requests that have no answer yet, over all connections.

    Attributes:
        connections: those that there are.
        left: set while there are none.
        closed: whether connections that are only beginning, as handshakes take their time, are of no use any more.
    """

    def __init__(
        self,
        intake: Intake,
        authenticator: ServerAuthenticator | None,
        decode: Callable[[bytes], SpanBatch],
        *,
        limit: int,
        streams: int,
        keepalive: KeepaliveServer,
        room: int,
    ) -> None:
        self.intake = intake
        self.authenticator = authenticator
        self.decode = decode
        self.limit = limit
        self.streams = streams
        self.keepalive = keepalive
        self.room = room
        self.connections: set[Guest] = set()
        self.left = asyncio.Event()
        self.left.set()
        self.closed = False
        self._cleared = 0.0

    def make_room(self, now: float) -> None:
        """Refuse what has been coming for long: who stops in the middle of requests shall not keep everybody else out."""
        if now >= self._cleared + 1:  # whoever is refused meanwhile costs no look at all requests
            self._cleared = now
            for connection in self.connections:
                connection.refuse_slow(now - _PATIENCE)
