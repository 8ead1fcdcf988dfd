"""`otel-tracead paths`: the execution paths that a model learned."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from otel_tracead.cli.model_options import model_option
from otel_tracead.terminal import escaped_json

if TYPE_CHECKING:  # heavy, and `--help` needs none of it
    from otel_tracead.artifact.folder import Artifact
    from otel_tracead.detection.paths import Operation


@click.command(name="paths")
@model_option
@click.option(
    "--format",
    "form",
    type=click.Choice(["dot", "mermaid", "json", "svg"]),
    default="dot",
    show_default=True,
    help="DOT for Graphviz, a Mermaid flowchart, JSON (docs/paths.md) or a picture.",
)
@click.option("--operation", metavar="TEXT", help="Only root operations whose label contains TEXT.")
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), help="File to write instead of standard output."
)
def command(
    *, model: Path, form: Literal["dot", "mermaid", "json", "svg"], operation: str | None, output: Path | None
) -> None:
    """Show the execution paths that a model learned: for each root operation its calls, in order, and what is concurrent.

    All operations go into one document, the most frequent first.
    """
    from otel_tracead.artifact import folder
    from otel_tracead.processors.tracead.model import find_model

    artifact = folder.load(find_model(model, Path.cwd()))
    text = _document(form, artifact, _operations(artifact, operation))
    if output is None:
        click.echo(text, nl=False)
    else:
        output.write_text(text, encoding="utf-8")


def _operations(artifact: "Artifact", wanted: str | None) -> "list[Operation]":
    from otel_tracead.detection.paths import operations
    from otel_tracead.errors import ArtifactError, TraceadError

    paths = artifact.calibration.paths
    if not len(paths):
        raise ArtifactError(
            f"{artifact.folder}: this model holds no execution paths; train it again with this version: "
            "otel-tracead train --input TRACES --output FOLDER"
        )
    found = operations(paths, artifact.dictionary)
    chosen = [one for one in found if wanted is None or wanted.lower() in one.root.lower()]
    if not chosen:
        there = ", ".join(one.root for one in found[:20]) + (" …" if len(found) > 20 else "")
        raise TraceadError(f"--operation {wanted!r}: no root operation has that in its label; there are: {there}")
    return chosen


def _document(form: str, artifact: "Artifact", operations: "list[Operation]") -> str:
    from otel_tracead.reports import path_drawing, path_text
    from otel_tracead.reports.path_words import colours_of, known_services, service_of

    if form == "json":
        return escaped_json(path_text.to_json(operations, artifact.manifest, artifact.calibration.paths).decode())
    services = known_services(artifact.manifest)
    if form == "svg":
        return path_drawing.document(operations, services)
    find, colour = service_of(services), colours_of(services)
    write = path_text.to_dot if form == "dot" else path_text.to_mermaid
    return write(operations, lambda label: colour(find(label)))
