"""Writes what was learned as a model artifact, the same way for every preset."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from otel_tracead.artifact import folder as artifacts
from otel_tracead.artifact.manifest import SCHEMA_VERSION, Labels, Manifest, Network, ReportCard
from otel_tracead.detection.check import CheckResult, spoken_kinds
from otel_tracead.detection.paths import Operation
from otel_tracead.errors import TraceadError
from otel_tracead.reports import training as report
from otel_tracead.traces.dictionary import Dictionary

_AGREEMENT: Final = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What training came to.

    Attributes:
        network: the bytes of `model.onnx`.
        dictionary: the labels.
        calibration: the bytes of `calibration.npz`.
        labels: how spans are named.
        shape: what the network expects and gives.
        thresholds: for the manifest.
        summary: of training, for the manifest.
        check: what the detector's own check found.
        warnings: what the user should know.
        paths: execution paths, for the report.
        paper: whether the detector goes by the paper's rules.
    """

    network: bytes
    dictionary: Dictionary
    calibration: bytes
    labels: Labels
    shape: Network
    thresholds: dict[str, float]
    summary: dict[str, Any]
    check: CheckResult
    warnings: Sequence[str]
    paths: Sequence[Operation] = ()
    paper: bool = False


def hold_to_agreement(difference: float, unit: str = "") -> None:
    """Refuse a network that does not say in ONNX Runtime what it says in PyTorch.

    Args:
        difference: the largest that was found.
        unit: that it is in, with a space before it.

    Raises:
        TraceadError: it is too large.
    """
    if difference > _AGREEMENT:
        raise TraceadError(
            f"the ONNX model differs from PyTorch's by {difference:.2g}{unit}, more than {_AGREEMENT:g}: nothing was "
            "written; please report this with your versions of torch and onnxruntime"
        )


def write(output: Path, outcome: Outcome, name: str | None, version: str | None) -> Manifest:
    """Write the artifact to the folder *output*.

    Args:
        output: of the artifact.
        outcome: what goes into it.
        name: of the model; None = that of the folder.
        version: of the model; None = made of its content.

    Raises:
        ArtifactError: *output* cannot be written.
    """
    contents = {
        artifacts.NETWORK: outcome.network,
        artifacts.LABELS: artifacts.encode_dictionary(outcome.dictionary),
        artifacts.CALIBRATION: outcome.calibration,
    }
    check = outcome.check
    manifest = Manifest(
        schema_version=SCHEMA_VERSION,
        name=name or output.resolve().name,
        version=version or hashlib.sha256(b"".join(contents.values())).hexdigest()[:12],
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        labels=outcome.labels,
        network=outcome.shape,
        thresholds=outcome.thresholds,
        training=outcome.summary,
        report_card=ReportCard(
            passed=check.passed,
            reasons=check.reasons,
            figures=dict(check.figures),
            words=(*check.words, spoken_kinds(check.findings), *outcome.warnings),
        ),
        files={},
    )
    if outcome.paper:  # what a manifest does not say is no part of it, and the other detector goes unsaid
        manifest = manifest.model_copy(update={"detector": "paper"})
    contents[artifacts.REPORT] = report.render(manifest, outcome.paths).encode()
    return artifacts.save(output, manifest, contents)
