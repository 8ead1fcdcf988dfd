"""`validate`: everything that can be known of a configuration without opening a socket."""

import asyncio

import click

from otel_tracead.cli.config_options import config_options, sources


@click.command("validate")
@config_options
def command(config: tuple[str, ...], overrides: tuple[str, ...]) -> None:
    """Check a configuration without running it.

    Says nothing and exits with 0 if it is good; prints every problem and exits with 1 if not.
    """
    if not config:
        raise click.UsageError("at least one config flag must be provided")

    async def build() -> None:
        import structlog

        from otel_tracead.service.lifecycle import Service
        from otel_tracead.service.loading import load
        from otel_tracead.telemetry import Telemetry

        silent = structlog.wrap_logger(structlog.testing.ReturnLogger(), processors=[])
        Service(load(sources(config, overrides)), telemetry=Telemetry(), logger=silent)

    asyncio.run(build())
