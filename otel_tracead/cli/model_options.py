"""The options of the commands that read traces or a model artifact, and what they mean."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:  # heavy, and `--help` needs none of it
    from otel_tracead.traces.reading import Source

_Option = Callable[[Callable[..., Any]], Callable[..., Any]]

model_option: _Option = click.option(
    "--model",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder of a model artifact; relative to here, then to the package (the bundled model_artifacts/shop).",
)
"""`--model`, given as `model`: what `find_model` takes."""

rate_option: _Option = click.option(
    "--false-positive-rate",
    type=click.FloatRange(min=0, max=1, min_open=True, max_open=True),
    default=0.01,
    show_default=True,
    help="Share of normal traces that may be marked.",
)
"""`--false-positive-rate`, given as `false_positive_rate`."""

provider_option: _Option = click.option(
    "--execution-provider",
    type=click.Choice(["auto", "cuda", "cpu"]),
    default="auto",
    show_default=True,
    help="auto takes CUDA when it works.",
)
"""`--execution-provider`, given as `execution_provider`."""


def input_option(which: str = "", *, required: bool = True, name: str = "--input") -> _Option:
    """Give `--input`, passed on as `inputs`: what `sources` takes.

    Args:
        which: of traces are meant, in words.
        required: whether the command works without.
        name: of an option that names traces for another purpose; passed on as its plural.
    """
    return click.option(
        name,
        f"{name.removeprefix('--')}s",
        multiple=True,
        required=required,
        metavar="PATH",
        help=f"Trace file, folder, glob, jaeger+http://… or zipkin+http://…{which} (docs/trace-files.md). Repeats.",
    )


def format_option(page: str = "") -> _Option:
    """Give `--format`, passed on as `form`; *page* says where the JSON is described."""
    return click.option(
        "--format",
        "form",
        type=click.Choice(["text", "json"]),
        default="text",
        show_default=True,
        help=f"For people, or for programs{page}.",
    )


def sources(inputs: tuple[str, ...]) -> "list[Source]":
    """Find what `--input` means: trace files, and running backends behind them. Nothing is asked of those yet.

    Raises:
        InputError: a path means no file.
        click.UsageError: an address is wrong.
    """
    from otel_tracead.trace_stores.address import is_address, parse_address, redacted
    from otel_tracead.traces.reading import TraceFile
    from otel_tracead.wire.files import expand

    now = time.time_ns()
    addresses = []
    for text in dict.fromkeys(inputs):
        if is_address(text):
            try:
                addresses.append(parse_address(text, now))
            except ValueError as error:
                raise click.UsageError(f"{redacted(text)}: {error}") from error
    files: list[Source] = [TraceFile(path) for path in expand(text for text in inputs if not is_address(text))]
    if not addresses:
        return files
    from otel_tracead.trace_stores.store import TraceStore

    return [*files, *map(TraceStore, addresses)]
