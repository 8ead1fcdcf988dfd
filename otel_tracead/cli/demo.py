"""`otel-tracead demo`: everything once, on the embedded default."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:  # heavy, and `--help` needs none of it
    from otel_tracead.demonstration.outcome import Outcome


@click.command(name="demo")
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("demo-output"),
    show_default=True,
    help="Folder for traces.jsonl (annotated) and report.html; older ones are replaced.",
)
def command(*, output: Path) -> None:
    """Show everything once, on simulated traffic.

    Four minutes of a simulated shop, in which nine things go wrong, are sent over a real socket through the stage that
    `run` runs without configuration (on free ports). What it marked is then held against what really happened.
    """
    import asyncio
    import sys

    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from otel_tracead.artifact import folder
    from otel_tracead.demonstration import outcome, traffic
    from otel_tracead.errors import ArtifactError, TraceadError
    from otel_tracead.processors.tracead.config import DEFAULT_MODEL
    from otel_tracead.processors.tracead.model import find_model
    from otel_tracead.reports import demo as report

    try:
        place = find_model(DEFAULT_MODEL, Path.cwd())
        manifest = folder.load(place).manifest
    except ArtifactError as error:
        raise TraceadError(
            f"the bundled model cannot be used: {error}. Install otel-tracead again, or train the model in a checkout "
            "with `make model`"
        ) from error
    output.mkdir(parents=True, exist_ok=True)
    traces, page = output.resolve() / "traces.jsonl", output / "report.html"
    columns = (TextColumn("{task.description:<40}"), BarColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not sys.stderr.isatty(), transient=True) as bar:
        task = bar.add_task("Sending a simulated shop through the stage", total=1.0)
        sent = asyncio.run(
            traffic.send(traces, place, traffic.SCENARIO, lambda share: bar.update(task, completed=share))
        )
        bar.update(task, description="Comparing with what really happened", total=None)
        found = outcome.compare(traces, sent.truth)
    if found.spans != sent.spans:
        raise TraceadError(f"{sent.spans} spans went in and {found.spans} came out; please report this")
    model = f"{manifest.name} {manifest.version}"
    html = report.render(found, model=model, duration_s=traffic.SCENARIO.duration_s, notes=_notes(sent.spans))
    page.write_text(html, encoding="utf-8")
    _show(found, output / "traces.jsonl", page)


def _notes(spans: int) -> list[str]:
    from otel_tracead.demonstration.traffic import SCENARIO, WAIT_S

    return [
        (
            "A simulation of a dozen services made the traffic, the same in each demo: "
            f"{SCENARIO.traces_per_second:g} traces a second for {SCENARIO.duration_s / 60:g} minutes. It also wrote down "
            "which traces each fault really changed; the stage does not know."
        ),
        (
            f"{spans} spans went over OTLP gRPC through the pipeline that `otel-tracead run` runs without configuration, and "
            f"{spans} came out, into traces.jsonl. Not the default are the ports, the file's place and the wait: the "
            f"simulated minutes pass in seconds, so a trace waits {WAIT_S:g} s for its spans and not 10 s."
        ),
        (
            "Expected times and bounds are what the model learned from traffic without faults. A score of 2 means that one "
            "normal trace in 100 looks as odd; from 2 on a trace is marked, from 3 on its level is high."
        ),
    ]


def _show(outcome: "Outcome", traces: Path, page: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    from otel_tracead.reports.demo import WORDS
    from otel_tracead.reports.rendering import percent

    table = Table(title=f"{outcome.caught} of {len(outcome.faults)} injected faults found", title_justify="left")
    for heading in ("Injected fault", "Where"):
        table.add_column(heading)
    for heading in ("Traces", "Found", "Right place"):
        table.add_column(heading, justify="right")
    for one in outcome.faults:
        shares = (
            percent(one.found / one.affected) if one.affected else "-",
            percent(one.located / one.found) if one.found else "-",
        )
        table.add_row(WORDS[one.fault.kind], one.where, str(one.affected), *shares)
    console = Console(highlight=False, soft_wrap=True)
    console.print(table, soft_wrap=False)
    unscored = "".join(f", {count} not judged ({reason})" for reason, count in sorted(outcome.unscored.items()))
    console.print(
        f"{len(outcome.judged)} traces, {outcome.spans} spans in and out; {len(outcome.marked)} traces marked{unscored}\n"
        f"False alarms: {percent(outcome.false_alarm_rate)} of the traces that no fault touched, "
        f"{percent(outcome.quiet_alarm_rate)} while no fault was on (budget 1 %)\n"
        f"Annotated traces: {traces}\nReport: {page}",
        markup=False,
    )
