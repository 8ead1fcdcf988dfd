"""The extension: 200 from the end of the start to the beginning of the shutdown, 503 before and after."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from aiohttp import web

from otel_tracead.auth import warn_if_readable
from otel_tracead.component import Settings
from otel_tracead.config_types import Endpoint
from otel_tracead.duration import format_duration
from otel_tracead.extensions.health_check.config import HealthCheckConfig
from otel_tracead.extensions.health_check.report import Report
from otel_tracead.health import Overview

_NEVER = "0001-01-01T00:00:00Z"


class HealthCheck:
    """Listens for probes; the service tells it when the pipelines are ready, and how its components are.

    Args:
        config: what the user wrote.
        settings: what the service gives.

    Attributes:
        port: where it listens, once started.
    """

    def __init__(self, config: HealthCheckConfig, settings: Settings) -> None:
        self.port = 0
        self._config = config
        self._logger = settings.logger
        self._runner: web.AppRunner | None = None
        self._site: web.TCPSite | None = None
        self._started = time.time()
        self._ready_since: tuple[datetime, float] | None = None
        self._look: Callable[[], Overview] = lambda: Overview({}, {})

    async def start(self) -> None:
        """Listen; the answer is 503 until `ready`.

        Raises:
            OSError: the endpoint cannot be listened on.
        """
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        self._runner = runner
        self._site = await _listen(runner, _endpoint(self._config))
        self._listens(runner, self._config)

    @asynccontextmanager
    async def revision(self, config: HealthCheckConfig, settings: Settings) -> AsyncIterator[None]:
        """Answer by another configuration, and elsewhere, from now on (see `otel_tracead.component.Revisable`).

        Raises:
            OSError: the new endpoint cannot be listened on.
        """
        del settings  # nothing in it is another
        runner, old, new = self._runner, self._site, None
        if runner is not None and _endpoint(config) != _endpoint(self._config):
            new = await _listen(runner, _endpoint(config))
        try:
            yield
        except BaseException:
            if new is not None:
                await new.stop()
            raise
        self._config = config
        if runner is not None and old is not None and new is not None:
            await old.stop()
            self._site = new
            self._listens(runner, config)

    async def shutdown(self) -> None:
        """Stop listening."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    def ready(self) -> None:
        """Answer 200 from now on."""
        self._ready_since = (datetime.now(UTC), time.monotonic())

    def not_ready(self) -> None:
        """Answer 503 from now on."""
        self._ready_since = None

    def watch(self, look: Callable[[], Overview]) -> None:
        """Take note of how to see how everybody is (see `otel_tracead.component.HealthWatcher`)."""
        self._look = look

    def _listens(self, runner: web.AppRunner, config: HealthCheckConfig) -> None:
        host, self.port = runner.addresses[0][:2]
        self._logger.info("health check listens", port=self.port)
        warn_if_readable(self._logger, _endpoint(config), host, "health")

    async def _answer(self, request: web.Request) -> web.Response:
        config = self._config
        if config.use_v2 and config.http is not None:
            path = config.http.status
            return self._second(request) if path.enabled and _matches(path.path, request.path) else _nothing_here()
        return self._first() if _matches(config.path, request.path) else _nothing_here()

    def _first(self) -> web.Response:
        status = 200 if self._ready_since else 503
        fixed = self._config.response_body
        if fixed is not None:
            return web.Response(status=status, text=fixed.healthy if self._ready_since else fixed.unhealthy)
        if self._ready_since is None:
            body = {"status": "Server not available", "upSince": _NEVER, "uptime": ""}
        else:
            since, started = self._ready_since
            uptime = format_duration(time.monotonic() - started)
            body = {"status": "Server available", "upSince": since.isoformat(), "uptime": uptime}
        return web.json_response(body, status=status)

    def _second(self, request: web.Request) -> web.Response:
        http = self._config.http
        verbose = "verbose" in request.query or (http is not None and http.status.verbose)
        report = Report(self._look(), self._config.component_health, time.time())
        pipeline = request.query.get("pipeline")
        if not pipeline:
            answer = report.whole(self._started, verbose=verbose)
        elif (found := report.pipeline(pipeline, self._started, verbose=verbose)) is not None:
            answer = found
        else:
            return web.Response(status=404)
        code, document = answer
        return web.json_response(document, status=503 if code == 200 and self._ready_since is None else code)


def _matches(pattern: str, path: str) -> bool:
    """Say whether *path* is *pattern*, or below it where it ends with a slash, as Go's ServeMux does."""
    return path.startswith(pattern) if pattern.endswith("/") else path == pattern


def _nothing_here() -> web.Response:
    return web.Response(status=404, text="404 page not found\n")


def _endpoint(config: HealthCheckConfig) -> Endpoint:
    return config.http.endpoint if config.use_v2 and config.http is not None else config.endpoint


async def _listen(runner: web.AppRunner, endpoint: Endpoint) -> web.TCPSite:
    site = web.TCPSite(runner, endpoint.host or None, endpoint.port)
    try:
        await site.start()
    except OSError:
        await site.stop()
        raise
    return site
