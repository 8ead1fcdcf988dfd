"""The extension: 200 from the end of the start to the beginning of the shutdown, 503 before and after."""

import time
from datetime import UTC, datetime

from aiohttp import web

from otel_tracead.component import Settings
from otel_tracead.duration import format_duration
from otel_tracead.extensions.health_check.config import HealthCheckConfig

_NEVER = "0001-01-01T00:00:00Z"


class HealthCheck:
    """Listens for probes; the service tells it when the pipelines are ready.

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
        self._ready_since: tuple[datetime, float] | None = None

    async def start(self) -> None:
        """Listen; the answer is 503 until `ready`.

        Raises:
            OSError: the endpoint cannot be listened on.
        """
        application = web.Application()
        application.router.add_get(self._config.path, self._answer)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        self._runner = runner
        await web.TCPSite(runner, self._config.endpoint.host or None, self._config.endpoint.port).start()
        self.port = runner.addresses[0][1]
        self._logger.info("health check listens", port=self.port)

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

    async def _answer(self, _request: web.Request) -> web.Response:
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
