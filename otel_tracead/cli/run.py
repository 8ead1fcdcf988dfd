"""`run`: the pipeline stage, until a signal ends it."""

import os
from typing import Any, Final

import click

from otel_tracead.cli.config_options import config_options, sources

# For what the log still has to say at the end; nobody may be reading it.
_SECONDS: Final = 5.0
_SECONDS_AT_ONCE: Final = 1.0


@click.command("run")
@config_options
def command(config: tuple[str, ...], overrides: tuple[str, ...]) -> int:
    """Run the pipeline stage.

    Without --config it takes OTLP and Zipkin on their usual ports, marks anomalies with the bundled model, writes the
    annotated traces to traces.jsonl and a summary to the terminal.

    SIGTERM and SIGINT drain and stop; SIGHUP reads the configuration again.
    """
    from otel_tracead import event_loop, line_writer
    from otel_tracead.service.config import ServiceConfig
    from otel_tracead.service.loading import load
    from otel_tracead.service.logs import forward_logging, make_logger
    from otel_tracead.service.runner import Runner

    places = sources(config, overrides)

    def logger_for(loaded: ServiceConfig) -> Any:
        return make_logger(loaded.telemetry.logs, loaded.base)

    def end_at_once(code: int) -> None:
        line_writer.flush(_SECONDS_AT_ONCE)
        os._exit(code)

    async def run() -> int:
        return await Runner(lambda: load(places), logger_for, forward_logging, end_at_once).run()

    try:
        return event_loop.run(run())
    finally:
        line_writer.flush(_SECONDS)
