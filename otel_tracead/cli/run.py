"""`run`: the pipeline stage, until a signal ends it."""

from typing import Any

import click

from otel_tracead.cli.config_options import config_options, sources


@click.command("run")
@config_options
def command(config: tuple[str, ...], overrides: tuple[str, ...]) -> int:
    """Run the pipeline stage.

    Without --config it takes OTLP and Zipkin on their usual ports, marks anomalies with the bundled model, writes the
    annotated traces to traces.jsonl and a summary to the terminal.

    SIGTERM and SIGINT drain and stop; SIGHUP reads the configuration again.
    """
    from otel_tracead import event_loop
    from otel_tracead.service.config import ServiceConfig
    from otel_tracead.service.loading import load
    from otel_tracead.service.logs import forward_logging, make_logger
    from otel_tracead.service.runner import Runner

    places = sources(config, overrides)

    def logger_for(loaded: ServiceConfig) -> Any:
        return make_logger(loaded.telemetry.logs, loaded.base)

    async def run() -> int:
        return await Runner(lambda: load(places), logger_for, forward_logging).run()

    return event_loop.run(run())
