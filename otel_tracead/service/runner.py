"""One process's run: signals, reload, fatal errors, and the exit code that comes of them."""

import asyncio
import errno
import os
import signal
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from enum import Enum, auto
from typing import Any, Final

import structlog

from otel_tracead.errors import ConfigError, TraceadError
from otel_tracead.log_limit import LogLimiter
from otel_tracead.process import most_files, open_files
from otel_tracead.service import memory
from otel_tracead.service.config import ServiceConfig
from otel_tracead.service.lifecycle import AddressPasses, Service
from otel_tracead.service.logs import Relay
from otel_tracead.telemetry import Telemetry

_STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
_LOOK: Final = 2.0
_OUT_OF_FILES: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class _Event(Enum):
    STOP = auto()
    RELOAD = auto()
    FATAL = auto()


class Runner:
    """Runs a configuration until a signal ends it.

    SIGTERM and SIGINT drain and stop, a second one ends the process at once. SIGHUP loads the configuration again and
    has the service go on with it; if it is not valid or does not start, the service goes on as before. Only where a new
    receiver or extension needs the address of one that is gone, the old service is shut down first.

    Args:
        load: reads and validates the configuration, now and, in a thread, at each reload.
        make_logger: makes the logger of a configuration.
        forward: given what everything logs to, once.
        force: ends the process at once with an exit code.
    """

    def __init__(
        self,
        load: Callable[[], ServiceConfig],
        make_logger: Callable[[ServiceConfig], Any],
        forward: Callable[[Any], None] = lambda _logger: None,
        force: Callable[[int], Any] = os._exit,
    ) -> None:
        self._load = load
        self._make_logger = make_logger
        self._force = force
        self._forward = forward
        self._telemetry = Telemetry()
        self._events: asyncio.Queue[_Event] = asyncio.Queue()
        self._stopping = asyncio.Event()
        self._problems: list[str] = []
        self._fatal: BaseException | None = None
        self._relay = Relay(structlog.get_logger())
        self._logger = self._relay.logger
        self._logs = LogLimiter(self._logger)

    async def run(self) -> int:
        """Run until stopped.

        Returns:
            0 if everything was handed on, 1 if spans were left or a component failed.

        Raises:
            ConfigError: the configuration is not valid.
            StartError: a component cannot start.
        """
        with self._signals():
            asyncio.get_running_loop().set_exception_handler(self._unhandled)
            config = self._load()
            self._relay.to = self._make_logger(config)
            self._forward(self._logger)
            service = await self._started(config)
            looking = asyncio.create_task(self._look_for_files())
            while service is not None and (event := await self._events.get()) is not _Event.STOP:
                if event is _Event.FATAL:
                    self._logger.error("a component failed, stopping", error=str(self._fatal))
                    break
                service = await self._reloaded(service)
            if service is not None:
                self._problems += await service.shutdown()
            looking.cancel()
            self._logger.info("shutdown complete")
            return 1 if self._problems or self._fatal else 0

    async def _started(self, config: ServiceConfig) -> Service | None:
        """Start a service; None if a stop came first."""
        self._warn(config)
        service = Service(config, telemetry=self._telemetry, logger=self._logger, fail=self._fail)
        if not await self._unless_stopped(service.start()):
            return None
        memory.settle()
        self._say_ready(config)
        return service

    async def _reloaded(self, service: Service) -> Service | None:
        self._logger.info("reloading the configuration")
        try:
            config = await asyncio.to_thread(self._load)
            logger = self._make_logger(config)
        except (TraceadError, OSError) as error:
            problems = error.problems if isinstance(error, ConfigError) else [str(error)]
            message = "the new configuration is not valid, the old one keeps running"
            self._logger.error(message, problems=problems)  # noqa: TRY400 (a traceback says nothing more)
            return service
        try:
            if not await self._unless_stopped(service.reload(config)):
                return service
        except AddressPasses:
            return await self._restarted(service, config, logger)
        except TraceadError as error:
            message = "the new configuration does not start, the old one keeps running"
            self._logger.error(message, error=str(error))  # noqa: TRY400 (likewise)
            return service
        self._relay.to = logger
        self._warn(config)
        self._say_ready(config)
        return service

    async def _restarted(self, service: Service, config: ServiceConfig, logger: Any) -> Service | None:
        self._logger.warning("an address passes from one component to another: everything is drained and started anew")
        old = service.config
        self._problems += await service.shutdown()
        before, self._relay.to = self._relay.to, logger
        try:
            return await self._started(config)
        except TraceadError as error:
            self._relay.to = before
            message = "the new configuration does not start, going back to the old one"
            self._logger.error(message, error=str(error))  # noqa: TRY400 (likewise)
            return await self._started(old)

    async def _unless_stopped(self, work: Coroutine[Any, Any, None]) -> bool:
        """Do *work*, and say whether it was done; a stop cancels it."""
        doing = asyncio.ensure_future(work)
        waiting = asyncio.ensure_future(self._stopping.wait())
        await asyncio.wait({doing, waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if not doing.done():
            doing.cancel()
            with suppress(asyncio.CancelledError):
                await doing
            return False
        await doing
        return True

    async def _look_for_files(self) -> None:
        """Say when there are none left for connections: uvloop turns those away without a word."""
        while True:
            await asyncio.sleep(_LOOK)
            if open_files() >= most_files():
                self._out_of_files()

    def _out_of_files(self) -> None:
        self._logs.error("connections are turned away: no more files can be opened", limit=most_files())

    def _say_ready(self, config: ServiceConfig) -> None:
        self._logger.info("everything is ready", pipelines=[str(id_) for id_ in config.pipelines])

    def _warn(self, config: ServiceConfig) -> None:
        for warning in config.warnings:
            self._logger.warning(warning)

    def _fail(self, error: BaseException) -> None:
        if self._fatal is None:
            self._fatal = error
            self._events.put_nowait(_Event.FATAL)

    def _stop(self) -> None:
        if self._stopping.is_set():
            self._logger.error("a second signal came: stopping at once, spans may be lost")
            self._force(1)
            return
        self._stopping.set()
        self._logger.info("draining and stopping")
        self._events.put_nowait(_Event.STOP)

    def _unhandled(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, OSError) and error.errno in _OUT_OF_FILES:  # asyncio tries to accept again after a second
            self._out_of_files()
            return
        fields = {"error": f"{type(error).__name__}: {error}"} if error is not None else {}
        self._logger.error(context.get("message", "an error in a task"), **fields)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in _STOP_SIGNALS:
            loop.add_signal_handler(number, self._stop)
        loop.add_signal_handler(signal.SIGHUP, self._events.put_nowait, _Event.RELOAD)
        try:
            yield
        finally:
            for number in (*_STOP_SIGNALS, signal.SIGHUP):
                loop.remove_signal_handler(number)
