"""What receivers, processors, exporters and extensions are: the protocols and factories of floor 3."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar, get_args, runtime_checkable

import structlog
from pydantic import BaseModel, ConfigDict, model_validator
from pydantic.fields import FieldInfo

from otel_tracead.delivery import Consignment
from otel_tracead.health import Health, Overview
from otel_tracead.telemetry import Telemetry


class Kind(StrEnum):
    """The four kinds of component; the value is the key of its section in the YAML."""

    RECEIVER = "receivers"
    PROCESSOR = "processors"
    EXPORTER = "exporters"
    EXTENSION = "extensions"

    @property
    def singular(self) -> str:
        """The word for one of them, as error messages and logs use it."""
        return self.value.removesuffix("s")


class ComponentConfig(BaseModel):
    """Base of what a user writes for a component: unknown keys are errors, weak typing is off.

    A key without a value (`retry_on_failure:`) means its default; a section without a body means the section with
    its defaults, also where the default is to leave the section out (`protocols: {grpc: }`).

    Attributes:
        null_is_off: a section of this class without a body is left out, as the Collector does with `tls:` and `auth:`.
    """

    null_is_off: ClassVar[bool] = False

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    @model_validator(mode="before")
    @classmethod
    def _null_is_default(cls, given: Any) -> Any:
        if not isinstance(given, dict) or None not in given.values():
            return given
        known = {info.alias or name: info for name, info in cls.model_fields.items()}
        kept = {key: value for key, value in given.items() if value is not None or key not in known}
        return kept | {
            key: {} for key, value in given.items() if value is None and key in known and _has_defaults(known[key])
        }


def _has_defaults(info: FieldInfo) -> bool:
    """Say whether the field is a section that is on with its defaults when it has no body."""
    for choice in (info.annotation, *get_args(info.annotation)):
        if isinstance(choice, type) and issubclass(choice, ComponentConfig):
            return not (choice.null_is_off and info.default is None)
    return False


class Consumer(Protocol):
    """Takes spans: a processor, an exporter's queue, or a fan-out over several."""

    def admit(self, spans: int) -> None:
        """Say whether *spans* spans would be taken now; never blocks.

        Raises:
            Backpressure: they would not; `consume` must not be called.
        """

    async def consume(self, consignment: Consignment) -> None:
        """Take ownership: whoever took the spans settles the consignment once they were handed on.

        Raises:
            Backpressure: nothing was taken, the caller still holds everything.
            PermanentError: nothing was taken and never will be.
        """


def wants_originals(consumer: Consumer) -> bool:
    """Say whether spans that come in another form than OTLP shall bring it along.

    Whoever sends that form again gives it back as it came. Nobody else looks at it, and it is more than half of what such a
    span takes. A consumer says so by an attribute `originals`; one that has none is taken to want them.
    """
    return bool(getattr(consumer, "originals", True))


@runtime_checkable
class ServerAuthenticator(Protocol):
    """An extension that receivers ask, by their `auth` section, whether a request may come in.

    Attributes:
        challenge: what `WWW-Authenticate` says to who may not; empty for nothing.
    """

    challenge: str

    def authenticate(self, headers: Mapping[str, Sequence[str]]) -> Awaitable[None] | None:
        """Look at the headers (of gRPC: the metadata) of a request, before its body is read.

        Args:
            headers: by name in lower case.

        Returns:
            None if the request may come in; what takes longer is awaited, and raises the same.

        Raises:
            Unauthenticated: it may not; the message goes to the sender and holds no secret.
            Backpressure: that cannot be said just now.
        """


@runtime_checkable
class ClientAuthenticator(Protocol):
    """An extension that exporters ask, by their `auth` section, for what proves who they are."""

    def credentials(self) -> Mapping[str, str]:
        """Give the headers (of gRPC: the metadata) for the next request; asked for each."""


@runtime_checkable
class Component(Protocol):
    """Anything with a life: started once, shut down once."""

    async def start(self) -> None:
        """Open sockets and start tasks. Raises whatever keeps it from starting; that aborts the start of the service."""

    async def shutdown(self) -> None:
        """Hand everything held to the next consumer, then stop. Idempotent; legal without `start`.

        A component that could not hand on everything leaves the count in an attribute `undelivered`: the exit code is 1.
        """


@runtime_checkable
class PipelineWatcher(Protocol):
    """An extension that is told when the pipelines take spans and when they no longer do."""

    def ready(self) -> None:
        """Every component has started."""

    def not_ready(self) -> None:
        """The shutdown begins."""


@runtime_checkable
class HealthWatcher(Protocol):
    """An extension that tells others how everybody is."""

    def watch(self, look: Callable[[], Overview]) -> None:
        """Take note of how to see it; comes before `start`."""


@runtime_checkable
class Revisable(Protocol):
    """A component that goes on with another configuration when the service is reloaded, and keeps what it holds."""

    def revision(self, config: Any, settings: "Settings") -> AbstractAsyncContextManager[None]:
        """Make ready for *config* on entering; leaving the block puts it in force, leaving it by an error does not.

        Until then the component works as before; nothing may fail or wait once the block is left.

        Raises:
            Exception: on entering, whatever keeps it from that.
        """


@runtime_checkable
class HandsOver(Protocol):
    """An exporter that can leave what it holds to a successor, instead of trying to the end to send it itself."""

    async def hand_over(self) -> Sequence[Consignment]:
        """Finish the requests under way, begin no others, and give what is left; comes before `shutdown`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the code (not the user) gives a component when it is built.

    Attributes:
        id: `type` or `type/name`.
        kind: which section it stands in.
        telemetry: where its metrics go.
        logger: bound with `otelcol.component.id` and `otelcol.component.kind`.
        extensions: the service's extensions by id, for `auth` and `storage`.
        base: the folder that relative paths in the configuration start from (of the YAML file).
        pipeline: of a processor: each pipeline has its own, under the same id.
        fail: report an error after the start that the service cannot live with.
        health: where the component says when it does not work, and when it works again.
    """

    id: str
    kind: Kind
    telemetry: Telemetry = field(default_factory=Telemetry)
    logger: Any = field(default_factory=structlog.get_logger)
    extensions: Mapping[str, Component] = field(default_factory=dict)
    base: Path = field(default_factory=Path.cwd)
    pipeline: str = ""
    fail: Callable[[BaseException], None] = lambda _error: None
    health: Health = field(default_factory=Health)


ConfigT = TypeVar("ConfigT", bound=ComponentConfig)


@dataclass(frozen=True, slots=True, kw_only=True)
class Factory(Generic[ConfigT]):
    """How the service makes a component of one type.

    Attributes:
        name: the type, the word in the YAML.
        kind: the section it stands in.
        config: the class that validates what the user wrote.
        build: makes the component; receivers and processors get their next consumer, exporters and extensions None.
        stability: as in the Collector's `components`.
        aliases: deprecated words for the same type.
        check: problems that only a look outside the configuration can find (a file that must be there), for `validate`.
    """

    name: str
    kind: Kind
    config: type[ConfigT]
    build: Callable[[ConfigT, Settings, Consumer | None], Component]
    stability: str = "beta"
    aliases: tuple[str, ...] = ()
    check: Callable[[ConfigT, Settings], list[str]] = lambda _config, _settings: []
