"""Components that remember what happened to them, and factories for them."""

import asyncio
import errno
from collections.abc import Callable
from typing import Any

from otel_tracead.component import ComponentConfig, Consumer, Factory, Kind, Settings
from otel_tracead.config_types import Duration
from otel_tracead.delivery import Consignment, Delivery
from otel_tracead.errors import Backpressure
from otel_tracead.redaction import Secret
from otel_tracead.service.registry import Registry
from otel_tracead.wire.batch import Envelope, SpanBatch


class Section(ComponentConfig):
    enabled: bool = True
    size: int = 5


class FakeConfig(ComponentConfig):
    wait: Duration = 0.2
    size: int = 3
    name: str = ""
    token: Secret = Secret("")
    headers: dict[str, Secret] | None = None
    section: Section | None = None
    names: list[str] = []  # noqa: RUF012 (pydantic copies it)
    fail: str = ""
    missing: bool = False
    address: str = ""


ENVELOPE = Envelope(b"", b"", {"service.name": "shop"})


def spans(count: int, tag: bytes = b"s") -> SpanBatch:
    return SpanBatch([(ENVELOPE, [tag + str(index).encode() for index in range(count)])])


class Fake:
    """Any component: logs its life in `log`, passes spans on or keeps them."""

    def __init__(self, config: FakeConfig, settings: Settings, consumer: Consumer | None, log: list[str]) -> None:
        self.config = config
        self.settings = settings
        self.next = consumer
        self.log = log
        self.got: list[Consignment] = []
        self.full = False
        self.undelivered = 0
        self.addresses: set[str] = set()
        self.on_stop: Callable[[], object] = lambda: None
        self.started = False
        self.after_stop = 0

    @property
    def name(self) -> str:
        return f"{self.settings.kind.singular} {self.settings.id}"

    async def start(self) -> None:
        self.log.append(f"start {self.name}")
        if self.config.fail:
            raise OSError(self.config.fail)
        if self.config.address in self.addresses:
            raise OSError(errno.EADDRINUSE, f"cannot listen on {self.config.address}")
        self.started = True

    async def shutdown(self) -> None:
        self.log.append(f"stop {self.name}")
        self.started = False
        self.on_stop()

    def ready(self) -> None:
        self.log.append(f"ready {self.name}")

    def not_ready(self) -> None:
        self.log.append(f"not ready {self.name}")

    def admit(self, count: int) -> None:
        if self.full:
            raise Backpressure("sending queue is full")
        if self.next is not None:
            self.next.admit(count)

    async def consume(self, consignment: Consignment) -> None:
        self.after_stop += not self.started
        self.admit(len(consignment.batch))
        if self.next is not None:
            await self.next.consume(consignment)
        else:
            self.got.append(consignment)
            consignment.settle()

    async def send(self, count: int) -> Delivery:
        """Play a receiver that took a request."""
        assert self.next is not None
        self.next.admit(count)
        delivery = Delivery()
        await self.next.consume(Consignment(spans(count), [(delivery, 1)]))
        return delivery


class House:
    """A registry of fakes that remembers every instance.

    Attributes:
        addresses: in use: who is configured to listen there cannot start.
        on_build: called with each instance.
        types: what is built instead of `Fake`, by name of the type.
    """

    def __init__(self, types: dict[str, type[Fake]] | None = None) -> None:
        self.log: list[str] = []
        self.addresses: set[str] = set()
        self.on_build: Callable[[Fake], object] = lambda _fake: None
        self.types = types or {}
        self.built: list[Fake] = []
        self.registry = Registry([self.factory(kind, name) for kind, name in _TYPES], built_in={})

    def factory(self, kind: Kind, name: str) -> Factory[FakeConfig]:
        def build(config: FakeConfig, settings: Settings, consumer: Consumer | None) -> Any:
            fake = self.types.get(name, Fake)(config, settings, consumer, self.log)
            fake.addresses = self.addresses
            self.built.append(fake)
            self.on_build(fake)
            return fake

        def check(config: FakeConfig, _settings: Settings) -> list[str]:
            return ["the file is not there"] if config.missing else []

        aliases = ("old",) if name == "new" else ()
        return Factory(name=name, kind=kind, config=FakeConfig, build=build, aliases=aliases, check=check)

    async def until(self, line: str, times: int = 1) -> None:
        """Wait for *line* in the log."""
        async with asyncio.timeout(10):
            while self.log.count(line) < times:  # noqa: ASYNC110 (no event tells)
                await asyncio.sleep(0.005)

    def get(self, name: str) -> Fake:
        found = [fake for fake in self.built if fake.name == name]
        assert len(found) == 1, [fake.name for fake in self.built]
        return found[0]


_TYPES = [
    (Kind.RECEIVER, "in"),
    (Kind.PROCESSOR, "step"),
    (Kind.EXPORTER, "out"),
    (Kind.EXPORTER, "new"),
    (Kind.EXTENSION, "ext"),
]

MINIMAL = {
    "receivers": {"in": None},
    "exporters": {"out": None},
    "service": {"pipelines": {"traces": {"receivers": ["in"], "exporters": ["out"]}}},
}
