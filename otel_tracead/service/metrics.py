"""The stage's own metrics as Prometheus text, and the listener that gives them.

The text is written here and not by prometheus_client: that appends `_total` to every counter, and the names of the
Collector's default reader have none.
"""

import math
import time
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from contextlib import asynccontextmanager
from itertools import accumulate
from typing import Any, Final

from aiohttp import web

from otel_tracead import line_writer, metrics
from otel_tracead.auth import warn_if_readable
from otel_tracead.config_types import Endpoint
from otel_tracead.errors import StartError
from otel_tracead.process import most_files, open_files, resident_bytes
from otel_tracead.telemetry import Counter, Histogram, Telemetry

PATH: Final = "/metrics"
_CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


def observe_process(telemetry: Telemetry) -> None:
    """Have the process itself observed: age from now on, memory, open files, lines left out, processor time."""
    started = time.monotonic()
    telemetry.observe(metrics.PROCESS_UPTIME, lambda: time.monotonic() - started)
    telemetry.observe(metrics.PROCESS_RSS, lambda: float(resident_bytes()))
    telemetry.observe(metrics.PROCESS_FILES, lambda: float(open_files()))
    telemetry.observe(metrics.PROCESS_MOST_FILES, lambda: float(most_files()))
    telemetry.observe(metrics.LINES_LEFT_OUT, lambda: float(line_writer.left_out()))
    telemetry.observe(metrics.PROCESS_CPU, time.process_time)


def exposition(telemetry: Telemetry) -> bytes:
    """Write every metric that has values in Prometheus' text format 0.0.4."""
    lines: list[str] = []
    for metric, series in telemetry.collect():
        lines.append(f"# HELP {metric.name} {_escape(metric.description, quotes=False)}")
        lines.append(f"# TYPE {metric.name} {metric.instrument}")
        for labels, values in series.items():
            pairs = [f'{name}="{_escape(value)}"' for name, value in zip(metric.labels, labels, strict=True)]
            if isinstance(values, Histogram):
                lines += _histogram(metric.name, pairs, values)
            else:
                value = values.value if isinstance(values, Counter) else values()
                lines.append(f"{_named(metric.name, pairs)} {_number(value)}")
    return "".join(line + "\n" for line in lines).encode(errors="backslashreplace")


def _histogram(name: str, pairs: list[str], histogram: Histogram) -> Iterator[str]:
    bounds = (*histogram.bounds, math.inf)
    for bound, count in zip(bounds, accumulate(histogram.counts), strict=True):
        below = f'le="{_number(bound)}"'
        yield f"{_named(f'{name}_bucket', [*pairs, below])} {count}"
    yield f"{_named(f'{name}_sum', pairs)} {_number(histogram.total)}"
    yield f"{_named(f'{name}_count', pairs)} {sum(histogram.counts)}"


def _number(value: float) -> str:
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return "NaN" if math.isnan(value) else repr(float(value))


def _named(name: str, pairs: list[str]) -> str:
    return f"{name}{{{','.join(pairs)}}}" if pairs else name


def _escape(text: str, *, quotes: bool = True) -> str:
    escaped = text.replace("\\", r"\\").replace("\n", r"\n").replace("\r", r"\r")
    return escaped.replace('"', r"\"") if quotes else escaped


class MetricsServer:
    """Listens where the metrics can be read.

    Args:
        endpoints: where to listen; none is fine.
        telemetry: what to show.
        logger: hears of what others can read.
    """

    def __init__(self, endpoints: Sequence[Endpoint], telemetry: Telemetry, logger: Any) -> None:
        self._logger = logger
        self._endpoints = tuple(endpoints)
        self._telemetry = telemetry
        self._runner: web.AppRunner | None = None
        self._sites: dict[Endpoint, web.TCPSite] = {}

    @property
    def ports(self) -> list[int]:
        """The port of each endpoint, once started."""
        return [] if self._runner is None else [address[1] for address in self._runner.addresses]

    async def start(self) -> None:
        """Listen.

        Raises:
            StartError: an endpoint cannot be listened on.
        """
        application = web.Application()
        application.router.add_get(PATH, self._answer)
        self._runner = web.AppRunner(application, access_log=None)
        await self._runner.setup()
        try:
            for endpoint in self._endpoints:
                self._sites[endpoint] = await self._listen(self._runner, endpoint)
        except StartError:
            await self.shutdown()
            raise

    @asynccontextmanager
    async def revision(self, endpoints: Sequence[Endpoint]) -> AsyncIterator[None]:
        """Listen at other *endpoints*, too, within the block, and behind it at them only; see `Revisable`.

        Raises:
            StartError: one of them cannot be listened on.
        """
        before = dict(self._sites)
        if self._runner is None:
            yield
            return
        try:
            for endpoint in endpoints:
                if endpoint not in before:
                    self._sites[endpoint] = await self._listen(self._runner, endpoint)
            yield
        except BaseException:
            await self._leave(set(self._sites) - set(before))
            raise
        self._endpoints = tuple(endpoints)
        await self._leave(set(self._sites) - set(endpoints))

    async def shutdown(self) -> None:
        """Stop listening. Idempotent."""
        runner, self._runner = self._runner, None
        self._sites.clear()
        if runner is not None:
            await runner.cleanup()

    async def _leave(self, endpoints: Collection[Endpoint]) -> None:
        for endpoint in endpoints:
            await self._sites.pop(endpoint).stop()

    async def _listen(self, runner: web.AppRunner, endpoint: Endpoint) -> web.TCPSite:
        before = len(runner.addresses)
        site = web.TCPSite(runner, endpoint.host or None, endpoint.port)
        try:
            await site.start()
        except OSError as error:
            await site.stop()
            raise StartError(f'failed to start "service::telemetry::metrics": {endpoint}: {error}') from error
        warn_if_readable(self._logger, endpoint, runner.addresses[before][0], "metrics")
        return site

    async def _answer(self, _request: web.Request) -> web.Response:
        return web.Response(body=exposition(self._telemetry), headers={"Content-Type": _CONTENT_TYPE})
