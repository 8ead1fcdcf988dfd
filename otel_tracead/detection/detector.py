"""The detector: a model artifact that judges whole traces."""

from collections.abc import Sequence
from copy import copy
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from otel_tracead.artifact import folder as artifacts
from otel_tracead.artifact.calibration import Calibration
from otel_tracead.artifact.folder import Artifact
from otel_tracead.detection import evidence as collected
from otel_tracead.detection import paper
from otel_tracead.detection.attribution import Attribution
from otel_tracead.detection.drift import Drift
from otel_tracead.detection.evidence import Judged
from otel_tracead.detection.places import Recent
from otel_tracead.detection.rules import DetectionSettings, Rules
from otel_tracead.detection.scorer import Scorer
from otel_tracead.detection.session import Provider
from otel_tracead.detection.trace_verdicts import Finding, share_by_trace, verdicts
from otel_tracead.detection.verdicts import UNKNOWN_TRAFFIC, Detector, ModelInfo, TraceVerdict
from otel_tracead.errors import ArtifactError
from otel_tracead.traces.dictionary import Dictionary
from otel_tracead.traces.encoding import Encoder, Events
from otel_tracead.traces.labels import LabelTemplate
from otel_tracead.traces.sequences import Order
from otel_tracead.traces.trace import Trace

__all__ = [
    "UNKNOWN_TRAFFIC",
    "ArtifactDetector",
    "DetectionSettings",
    "Judged",
    "ModelDetector",
    "from_artifact",
    "load_detector",
]


@runtime_checkable
class ArtifactDetector(Detector, Protocol):
    """The detector of an artifact: it takes events that were encoded before, too, so that it can be tried out."""

    @property
    def threshold(self) -> float:
        """The score from which on a trace is marked."""

    def with_settings(self, settings: DetectionSettings) -> "ArtifactDetector":
        """Give the same model under other settings; use one of the two at a time."""

    def assess(self, events: Events) -> Any:
        """Score events that were encoded with this model's template and order; `score` `[traces]` is part of what it gives."""

    def verdicts(self, judged: Any, *, every_span: bool = False) -> list[TraceVerdict]:
        """Put in words what `assess` gave, one verdict a trace."""


class ModelDetector:
    """Judges traces with a model; implements `otel_tracead.detection.verdicts.Detector`. Not thread-safe.

    It remembers some numbers of the traces that it judged, to follow slow drift and to see a place that is slow for
    everybody just now: give it traces about as they come.

    Args:
        dictionary: of the model.
        calibration: of the model.
        scorer: of the model's network.
        template: how spans are named.
        order: how events are ordered.
        info: which model this is.
        settings: what the user decides.
    """

    def __init__(
        self,
        *,
        dictionary: Dictionary,
        calibration: Calibration,
        scorer: Scorer,
        template: LabelTemplate,
        order: Order,
        info: ModelInfo,
        settings: DetectionSettings,
    ) -> None:
        self._dictionary = dictionary
        self._calibration = calibration
        self._scorer = scorer
        self._encoder = Encoder(template, order)
        self._info = info
        self._drift = Drift(calibration.usual)
        self._recent = Recent(calibration.places)
        self._grammar = collected.rules_of_calls(calibration)
        self._follow(settings)

    @property
    def model(self) -> ModelInfo:
        """Which model this is, and where it runs."""
        self._info = self._info.placed(self._scorer.execution_provider, self._scorer.trouble)
        return self._info

    def with_settings(self, settings: DetectionSettings) -> "ModelDetector":
        """Give this detector under other settings; the two share what they remember, so only one may judge at a time."""
        other = copy(self)
        other._follow(settings)  # noqa: SLF001 (its own class)
        return other

    def _follow(self, settings: DetectionSettings) -> None:
        self._settings = settings
        self._rules = Rules(settings, self._calibration)
        self._attribution = Attribution(self._dictionary, self._calibration, self._grammar, self._scorer, self._rules)
        self.threshold = self._rules.threshold

    def slower(self) -> npt.NDArray[np.float64]:
        """See `FollowsDrift.slower`."""
        return self._drift.slower()

    def judge(self, traces: Sequence[Trace], *, every_span: bool = False) -> list[TraceVerdict]:
        """Judge *traces*; see `Detector.judge`."""
        return self.verdicts(self.assess(self._encoder.encode(traces)), every_span=every_span)

    def assess(self, events: Events) -> Judged:
        """Score events that were encoded with this model's template."""
        scales = (self._calibration.center, self._calibration.scale)
        known = collected.translate(events, self._dictionary, *scales, self._drift)
        ranks = self._rules.top_k is not None
        surprise = self._scorer.surprise(known.label, known.scaled, events.offsets, ranks=ranks)
        found = collected.gather(events, known, surprise, self._calibration, self._grammar, self._recent)
        channels = self._calibration.all_decades(collected.strongest(events, found))
        return Judged(
            events=events,
            known=known,
            surprise=surprise,
            evidence=found,
            channels=channels,
            score=self._calibration.trace_tail.strength(channels.max(axis=0)),
            foreign=share_by_trace(events, known.foreign),
        )

    def verdicts(self, judged: Judged, *, every_span: bool = False) -> list[TraceVerdict]:
        """Put what was found in words, one verdict a trace."""
        events, attribution = judged.events, self._attribution
        unknown = judged.foreign > self._settings.unknown_labels
        scores = np.minimum(judged.score, self._rules.below).tolist()
        found: dict[int, Finding] = {}
        if every_span:
            for trace in np.flatnonzero(~unknown).tolist():
                found[trace] = Finding(anomalous=False, score=scores[trace], spans=attribution.normal(judged, trace))
        marked = np.flatnonzero(self._rules.anomalous(judged) & ~unknown)
        for trace, explanation in zip(marked.tolist(), attribution.explain(judged, marked), strict=True):
            found[trace] = Finding(
                anomalous=True,
                score=max(span.score for span in explanation.spans.values()),
                spans={**(found[trace].spans if every_span else {}), **explanation.spans},
                missing=explanation.missing if events.orphans[trace] == 0 else (),
            )
        return verdicts(
            events, unknown=unknown, unseen=judged.known.unseen, threshold=self.threshold, scores=scores, found=found
        )


def load_detector(
    path: Path,
    *,
    settings: DetectionSettings | None = None,
    execution_provider: Provider = "auto",
    require_report_card: bool = True,
    threads: int = 1,
) -> ArtifactDetector:
    """Load the detector of the model artifact in *path*.

    Raises:
        ArtifactError: the artifact is refused: see `otel_tracead.artifact.folder.load`, or its own check did not hold
            and *require_report_card* is set.
        RuntimeError: CUDA was asked for and does not work.
    """
    artifact = artifacts.load(path)
    card = artifact.manifest.report_card
    if require_report_card and not card.passed:
        reasons = "; ".join(card.reasons) or "no reason given"
        raise ArtifactError(
            f"{path}: the model's own check did not hold ({reasons}); train it on more or cleaner traffic, "
            "or set require_report_card: false"
        )
    return from_artifact(artifact, settings or DetectionSettings(), execution_provider, threads)


def from_artifact(
    artifact: Artifact, settings: DetectionSettings, execution_provider: Provider = "cpu", threads: int = 1
) -> ArtifactDetector:
    """Make the detector of a verified artifact.

    Raises:
        ArtifactError: its network, label template or order of events cannot be used.
        RuntimeError: CUDA was asked for and does not work.
    """
    manifest = artifact.manifest
    try:
        template, order = manifest.labels.parsed()
    except ValueError as error:
        raise ArtifactError(f"{artifact.folder / artifacts.MANIFEST}: {error}") from error
    try:
        if manifest.detector == "paper":
            return paper.from_artifact(artifact, template, order, settings, execution_provider, threads)
        scorer = Scorer(
            artifact.network,
            state=manifest.network.state,
            labels=len(artifact.dictionary),
            provider=execution_provider,
            threads=threads,
        )
    except ArtifactError as error:
        raise ArtifactError(f"{artifact.folder}: {error}") from error
    return ModelDetector(
        dictionary=artifact.dictionary,
        calibration=artifact.calibration,
        scorer=scorer,
        template=template,
        order=order,
        info=ModelInfo(
            manifest.name,
            manifest.version,
            scorer.execution_provider,
            manifest.created,
            manifest.digest,
            scorer.trouble,
        ),
        settings=settings,
    )
