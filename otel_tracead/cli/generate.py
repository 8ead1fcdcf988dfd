"""`otel-tracead generate`: traffic of a simulated shop with known faults, to a file or an OTLP endpoint."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:  # heavy, and `--help` needs none of it
    from otel_tracead.generator import Simulation
    from otel_tracead.generator.sinks import Write


def _seconds(_context: click.Context, parameter: click.Parameter, value: str) -> float:
    from otel_tracead.duration import parse_duration

    try:
        seconds = parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(f"{error}; write it as 90s or 10m", param=parameter) from None
    if seconds <= 0:
        raise click.BadParameter("must be longer than 0s", param=parameter)
    return seconds


def _unix_nano(_context: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    from datetime import UTC, datetime, timedelta

    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        moment = datetime.min  # noqa: DTZ901 (no zone, so it is refused below like every time without one)
    if moment.tzinfo is None:
        raise click.BadParameter(f"{value!r} is no RFC 3339 time; write it as 2026-01-31T12:00:00Z", param=parameter)
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1000


@click.command(name="generate")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Trace file; its name says the format: .jsonl (OTLP JSON lines) or .pb (OTLP protobuf), also with .gz or .zst.",
)
@click.option("--endpoint", help="OTLP gRPC endpoint, such as http://localhost:4317.")
@click.option(
    "--insecure/--secure",
    default=None,
    help="Without TLS, or with. Default: without for http:// and for this host.",
)
@click.option(
    "--rate",
    type=click.FloatRange(min=0),
    default=0.0,
    show_default=True,
    help="Spans per second of real time; 0 is as fast as possible.",
)
@click.option("--duration", default="10m", show_default=True, callback=_seconds, help="Simulated time.")
@click.option(
    "--traces-per-second",
    type=click.FloatRange(min=0, min_open=True),
    default=20.0,
    show_default=True,
    help="Per second of simulated time, the mean over a day.",
)
@click.option(
    "--scale",
    type=click.FloatRange(min=0, min_open=True),
    default=1.0,
    show_default=True,
    help="Workers of each service, as a multiple; a shop of 1 is overloaded from 350 traces a second.",
)
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Same seed, same spans.")
@click.option("--start", callback=_unix_nano, help="When it begins (RFC 3339). Default: so long ago that it ends now.")
@click.option(
    "--fault",
    "fault_texts",
    multiple=True,
    metavar="KIND:SERVICE:START:DURATION[:SEVERITY]",
    help="A fault, such as slow_service:payment:2m:60s:5; SERVICE may be CALLER>SERVICE or SERVICE/OPERATION. Repeats.",
)
@click.option("--standard-faults", "standard", is_flag=True, help="One fault of each kind, spread over the duration.")
@click.option(
    "--truth",
    "truth_path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write there, as JSON, which traces the faults hit, and the true call graph.",
)
def command(
    *,
    output: Path | None,
    endpoint: str | None,
    insecure: bool | None,
    rate: float,
    duration: float,
    traces_per_second: float,
    scale: float,
    seed: int,
    start: int | None,
    fault_texts: tuple[str, ...],
    standard: bool,
    truth_path: Path | None,
) -> None:
    """Generate traffic of a simulated shop, with known faults."""
    import time
    from contextlib import ExitStack

    from otel_tracead.duration import parse_duration
    from otel_tracead.errors import TraceadError
    from otel_tracead.generator import Scenario, parse_fault, simulate, standard_faults
    from otel_tracead.generator.sinks import Sink, endpoint_sink, file_sink

    sinks: list[Sink] = []
    try:
        faults = tuple(parse_fault(text, parse_duration) for text in fault_texts)
        if standard:
            faults += standard_faults(duration, seed)
        begin = start if start is not None else time.time_ns() - int(duration * 1e9)
        run = simulate(
            Scenario(
                seed=seed,
                start_unix_nano=begin,
                duration_s=duration,
                traces_per_second=traces_per_second,
                faults=faults,
                scale=scale,
            )
        )
        if output is not None:
            sinks.append(file_sink(output))
        if endpoint is not None:
            sinks.append(endpoint_sink(endpoint, insecure=insecure))
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if not sinks:
        raise click.UsageError("Say where the spans go: --output FILE or --endpoint URL.")
    try:
        with ExitStack() as stack:
            # Opened first: that it cannot be written must not be found out after an hour.
            truth = None if truth_path is None else stack.enter_context(truth_path.open("wb"))
            _send(run, [stack.enter_context(sink) for sink in sinks], rate)
            if truth is not None:
                truth.write(run.truth.to_json())
    except (OSError, TraceadError) as error:
        raise click.ClickException(str(error)) from error


def _send(run: "Simulation", writes: Sequence["Write"], rate: float) -> None:
    """Hand every request to every sink, at `rate` spans a second of real time if that is not 0."""
    import sys
    import time
    from contextlib import ExitStack

    from otel_tracead.generator.encoding import batches, encode_request

    begin, sent, done_s = time.monotonic(), 0, 0
    length = round(run.scenario.duration_s)
    with ExitStack() as stack:
        bar = None
        if sys.stderr.isatty():
            bar = stack.enter_context(click.progressbar(length=length, label="Simulated seconds", file=sys.stderr))
        for at_unix_nano, spans in batches(run):
            if rate:
                time.sleep(max(0.0, begin + sent / rate - time.monotonic()))
            request = encode_request(spans)
            for write in writes:
                write(request)
            sent += len(spans)
            now_s = min(length, (at_unix_nano - run.scenario.start_unix_nano) // 1_000_000_000)
            if bar is not None:
                bar.update(now_s - done_s)
            done_s = now_s
