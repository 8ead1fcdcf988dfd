"""The command line: finds a command's module by its name, and turns errors into messages and exit codes.

Nothing heavy is imported here: `--help` reads a table, and a command's module is imported when it is called.
"""

import sys
from importlib import import_module
from typing import Any, Final

import click

from otel_tracead.errors import ConfigError, TraceadError

COMMANDS: Final = {
    "run": "Run the pipeline stage.",
    "validate": "Check a configuration without running it.",
    "components": "List the components that a configuration may use.",
    "print-config": "Print the configuration with all defaults.",
    "train": "Learn normal behaviour from traces.",
    "score": "Annotate stored traces.",
    "evaluate": "Repeat the paper's experiments.",
    "check": "Check whether a detector works on this traffic.",
    "rank": "Rank services by how likely they are the root cause.",
    "paths": "Show execution paths.",
    "generate": "Make traffic of a simulated shop with known faults.",
    "demo": "Show everything once, on simulated traffic.",
}
"""Each command and its line in the help; `print-config` stands in the module `print_config`, as `command`."""
_SECONDS: Final = 5.0
_ALIASES: Final = {"print-initial-config": "print-config"}  # the Collector's older name


class _Commands(click.Group):
    """Commands that are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (click's signature)
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 (likewise)
        name = _ALIASES.get(cmd_name, cmd_name)
        if name not in COMMANDS:
            return None
        command: click.Command = import_module(f"{__name__}.{name.replace('-', '_')}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 (likewise)
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _print_version(ctx: click.Context, _option: click.Parameter, wanted: Any) -> None:
    if wanted:
        from otel_tracead._version import __version__

        click.echo(f"otel-tracead version {__version__}")
        ctx.exit()


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, help="Show tracebacks of errors.")
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Show the version."
)
def cli(debug: bool) -> None:
    """Mark anomalous spans on their way to the backend, and forward every span."""
    click.get_current_context().obj = {"debug": debug}


def main() -> None:
    """Run the command line and exit: 0 good, 1 the work failed, 2 wrong usage."""
    sys.exit(invoke(sys.argv[1:]))


def invoke(arguments: list[str]) -> int:
    """Run one command.

    Args:
        arguments: without the program's name.

    Returns:
        the exit code; messages went to stderr.
    """
    debug = "--debug" in arguments[: _position_of_command(arguments)]
    try:
        code = cli.main(args=arguments, prog_name="otel-tracead", standalone_mode=False)
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("Aborted.", err=True)
        return 1
    except BrokenPipeError:  # the reader of our output has gone, as with `| head`
        sys.stderr.close()
        return 1
    except Exception as error:
        if debug:
            raise
        from otel_tracead.terminal import escaped

        _say(escaped(_message(error)))
        return 1
    return code if isinstance(code, int) else 0


def _say(message: str) -> None:
    """Write to stderr, behind what is in the log; nobody may be reading it."""
    from otel_tracead import line_writer

    if sys.stderr is not None:  # it was closed before we began
        line_writer.to_stream(sys.stderr).put(message, "left out: {} messages".format)
        line_writer.flush(_SECONDS)


def _position_of_command(arguments: list[str]) -> int:
    return next((index for index, text in enumerate(arguments) if not text.startswith("-")), len(arguments))


def _message(error: Exception) -> str:
    if isinstance(error, ConfigError):
        return "\n".join(["Error: invalid configuration:", *(f"  {problem}" for problem in error.problems)])
    if isinstance(error, TraceadError):
        return f"Error: {error}"
    if isinstance(error, OSError) and error.filename is not None:
        return f"Error: {error.filename}: {error.strerror}"
    return f"Error: {type(error).__name__}: {error} (for the traceback: otel-tracead --debug ...)"
