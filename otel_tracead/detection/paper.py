"""The paper's detector (its section on detection): not among the k most probable labels, or a time outside its interval.

What the paper leaves open: the first event of a trace has nothing before it to be forecast from, and events behind the
window have no place in it; neither is judged. Structure is not judged where spans are missing from the trace, as they
may be late; the paper has all of them. A label that training never saw is never among the k.
"""

from collections.abc import Sequence
from copy import copy
from typing import Final

import numpy as np
import numpy.typing as npt

from otel_tracead.artifact.folder import MANIFEST, Artifact
from otel_tracead.artifact.paper import PaperCalibration
from otel_tracead.detection.paper_evidence import PaperJudged, behind, evidence, recognise
from otel_tracead.detection.rules import DetectionSettings
from otel_tracead.detection.session import Provider
from otel_tracead.detection.trace_verdicts import Finding, level, share_by_trace, verdicts
from otel_tracead.detection.verdicts import AnomalyType, ModelInfo, SpanVerdict, TraceVerdict
from otel_tracead.detection.window_network import WindowNetwork
from otel_tracead.errors import ArtifactError
from otel_tracead.traces.dictionary import END_ID, RARE_ID, Dictionary
from otel_tracead.traces.encoding import Encoder, Events
from otel_tracead.traces.labels import LabelTemplate
from otel_tracead.traces.sequences import Order
from otel_tracead.traces.trace import Trace
from otel_tracead.traces.windows import cut

Floats = npt.NDArray[np.float64]

TOP_K: Final = 3
"""The paper's k in between: it tries 1, 3 and 5."""
CONFIDENCE: Final = 0.95
"""The paper's interval."""
_EXPECTED: Final = 3
_LONGEST: Final = 10_000  # events of a window


class PaperDetector:
    """Judges traces by the paper's rules; implements `otel_tracead.detection.verdicts.Detector`. Not thread-safe.

    Scores are -log10 of the share of training traces with evidence as strong, but at least the threshold where a rule
    marks a span and below it where none does: the rules decide, whatever the budget for false positives.

    Args:
        dictionary: of the model.
        calibration: of the model.
        network: of the model: both modalities.
        length: events of a window, the paper's `T_l`.
        template: how spans are named.
        order: how events are ordered; the paper's is by start time.
        info: which model this is.
        settings: what the user decides.
        top_k: how many of the most probable labels are no anomaly, where the settings do not say.
        confidence: of the interval that a time may lie in, where they do not.
    """

    def __init__(
        self,
        *,
        dictionary: Dictionary,
        calibration: PaperCalibration,
        network: WindowNetwork,
        length: int,
        template: LabelTemplate,
        order: Order,
        info: ModelInfo,
        settings: DetectionSettings,
        top_k: int = TOP_K,
        confidence: float = CONFIDENCE,
    ) -> None:
        self._dictionary = dictionary
        self._calibration = calibration
        self._network = network
        self._length = length
        self._encoder = Encoder(template, order)
        self._info = info
        self._own = (top_k, confidence)
        self._follow(settings)

    def _follow(self, settings: DetectionSettings) -> None:
        from scipy.special import ndtri  # a tenth of a second that a stage with the default model need not wait for

        top_k, confidence = self._own
        self._settings = settings
        self._top_k = settings.top_k or top_k
        self._widest = float(ndtri((1.0 + (settings.confidence or confidence)) / 2.0))
        self.threshold = float(-np.log10(settings.false_positive_rate))

    def with_settings(self, settings: DetectionSettings) -> "PaperDetector":
        """Give this detector under other settings."""
        other = copy(self)
        other._follow(settings)  # noqa: SLF001 (its own class)
        return other

    @property
    def model(self) -> ModelInfo:
        """Which model this is, and where it runs."""
        self._info = self._info.placed(self._network.execution_provider, self._network.trouble)
        return self._info

    @property
    def _below(self) -> float:
        return float(np.nextafter(self.threshold, 0.0))

    def judge(self, traces: Sequence[Trace], *, every_span: bool = False) -> list[TraceVerdict]:
        """Judge *traces*; see `Detector.judge`."""
        return self.verdicts(self.assess(self._encoder.encode(traces)), every_span=every_span)

    def assess(self, events: Events) -> PaperJudged:
        """Score events that were encoded with this model's template and order."""
        windows = cut(events, self._dictionary, length=self._length)
        known = recognise(events, self._dictionary)
        scaled = self._calibration.scale.scale(windows.time_ms, windows.label)
        outlook = self._network.look(windows.label, windows.following[0], scaled)
        surprise, deviation = evidence(outlook, windows, self._calibration)
        whole = (events.orphans == 0)[:, None]
        strange = behind(windows, events, np.where(events.orphans[events.trace] > 0, known.foreign, known.unseen))
        unlikely = (windows.forecast & whole & (np.asarray(outlook.rank) >= self._top_k)) | strange
        long = windows.followed & (deviation > self._widest)
        strength = self._strength(np.where(whole, surprise, 0.0), deviation)
        marked, unmarked = np.maximum(strength, self.threshold), np.minimum(strength, self._below)
        strength = np.where(unlikely | long, marked, unmarked)
        score = strength.max(axis=1, initial=0.0)
        return PaperJudged(events, windows, known, outlook, strange, unlikely, long, strength, score)

    def _strength(self, surprise: Floats, deviation: Floats) -> Floats:
        tails = self._calibration.channel_tails
        strongest = np.maximum(tails.strength(surprise.ravel(), 0), tails.strength(deviation.ravel(), 1))
        return self._calibration.trace_tail.strength(strongest).reshape(surprise.shape)

    def verdicts(self, judged: PaperJudged, *, every_span: bool = False) -> list[TraceVerdict]:
        """Put what was found in words, one verdict a trace."""
        unknown = share_by_trace(judged.events, judged.known.foreign) > self._settings.unknown_labels
        told = np.ones(len(unknown), np.bool_) if every_span else (judged.unlikely | judged.long).any(axis=1)
        found = {trace: self._finding(judged, trace, every_span) for trace in np.flatnonzero(told & ~unknown).tolist()}
        return verdicts(
            judged.events,
            unknown=unknown,
            unseen=judged.known.unseen,
            threshold=self.threshold,
            scores=judged.score.tolist(),
            found=found,
        )

    def _finding(self, judged: PaperJudged, trace: int, every_span: bool) -> Finding:
        marked = self._marked(judged, trace)
        return Finding(
            anomalous=bool(marked),
            score=max((span.score for span in marked.values()), default=float(judged.score[trace])),
            spans={**self._normal(judged, trace), **marked} if every_span else marked,
            missing=self._missing(judged, trace),
        )

    def _normal(self, judged: PaperJudged, trace: int) -> dict[int, SpanVerdict]:
        """Give every span of a trace a verdict as if it were normal; those that are not judged score 0."""
        first, last = judged.events.offsets[trace : trace + 2].tolist()
        length = int(judged.windows.length[trace])
        scores = np.zeros(last - first)
        scores[1:length] = np.minimum(judged.strength[trace, : length - 1], self._below)
        spans = judged.events.span[first:last].tolist()
        return {
            span: SpanVerdict(anomalous=False, score=score) for span, score in zip(spans, scores.tolist(), strict=True)
        }

    def _marked(self, judged: PaperJudged, trace: int) -> dict[int, SpanVerdict]:
        first, length = int(judged.events.offsets[trace]), int(judged.windows.length[trace])
        spans: dict[int, SpanVerdict] = {}
        for position in np.flatnonzero(judged.unlikely[trace] | judged.long[trace]).tolist():
            # The end of a trace is no span: the last one stands for it, unless it is to blame itself.
            span = int(judged.events.span[first + min(position + 1, length - 1)])
            if span in spans:
                continue
            structural, slow = bool(judged.unlikely[trace, position]), bool(judged.long[trace, position])
            values: dict[str, object] = {"type": AnomalyType.STRUCTURAL if structural else AnomalyType.RESPONSE_TIME}
            if structural and slow:
                values["type"] = AnomalyType.BOTH
            if structural:
                values |= self._structure(judged, trace, position)
            if slow:
                values |= self._times(judged, trace, position)
            score = float(judged.strength[trace, position])
            spans[span] = SpanVerdict(anomalous=True, score=score, level=level(score, self.threshold), **values)  # type: ignore[arg-type]
        return spans

    def _structure(self, judged: PaperJudged, trace: int, position: int) -> dict[str, object]:
        outlook = judged.outlook
        strange = bool(judged.strange[trace, position])
        top = np.asarray(outlook.top)[trace, position, :_EXPECTED].tolist()
        return {
            "rank": len(self._dictionary) if strange else int(np.asarray(outlook.rank)[trace, position]),
            "probability": 0.0 if strange else float(np.asarray(outlook.probability)[trace, position]),
            "expected": tuple(self._dictionary.labels[label] for label in top),
        }

    def _times(self, judged: PaperJudged, trace: int, position: int) -> dict[str, object]:
        """Give what was expected of a response time, and the end of the interval that it lies beyond."""
        label = int(judged.windows.label[trace, position + 1])
        predicted = float(np.asarray(judged.outlook.time)[trace, position])
        errors, scale = self._calibration.errors, self._calibration.scale
        farthest = float(np.sqrt(max(errors.mean[label] + self._widest * errors.spread[label], 0.0)))
        at = slice(position + 1, position + 2)
        observed = float(scale.scale(judged.windows.time_ms[trace, at], judged.windows.label[trace, at])[0])
        crossed = predicted + (farthest if observed > predicted else -farthest)
        expected_ms, upper_ms = scale.unscale(np.array((predicted, crossed)), np.full(2, label)).tolist()
        return {"expected_ms": expected_ms, "upper_ms": upper_ms}

    def _missing(self, judged: PaperJudged, trace: int) -> tuple[str, ...]:
        """Name the label that was expected where a trace ended instead."""
        position = int(judged.windows.length[trace]) - 1
        if not judged.unlikely[trace, position]:
            return ()
        top = np.asarray(judged.outlook.top)[trace, position].tolist()
        return tuple(self._dictionary.labels[label] for label in top if label not in (END_ID, RARE_ID))[:1]


def from_artifact(
    artifact: Artifact,
    template: LabelTemplate,
    order: Order,
    settings: DetectionSettings,
    provider: Provider,
    threads: int,
) -> PaperDetector:
    """Make the detector of a verified artifact of the preset `paper`.

    Raises:
        ArtifactError: the manifest speaks of no such model, or the network is not the one that it speaks of.
        RuntimeError: CUDA was asked for and does not work.
    """
    manifest = artifact.manifest
    length = manifest.network.architecture.get("length")
    top_k, confidence = manifest.thresholds.get("top_k", TOP_K), manifest.thresholds.get("confidence", CONFIDENCE)
    if not isinstance(length, int) or not 2 <= length <= _LONGEST:
        raise ArtifactError(f"{MANIFEST}: network::architecture::length is {length!r}, not 2 to {_LONGEST} events")
    if not (top_k >= 1 and 0 < confidence < 1) or not isinstance(artifact.numbers, PaperCalibration):
        raise ArtifactError(f"{MANIFEST}: top_k {top_k:g} and confidence {confidence:g} are no rules of the paper")
    network = WindowNetwork(
        artifact.network, labels=len(artifact.dictionary), length=length, provider=provider, threads=threads
    )
    return PaperDetector(
        dictionary=artifact.dictionary,
        calibration=artifact.numbers,
        network=network,
        length=length,
        template=template,
        order=order,
        info=ModelInfo(
            manifest.name,
            manifest.version,
            network.execution_provider,
            manifest.created,
            manifest.digest,
            network.trouble,
        ),
        settings=settings,
        top_k=int(top_k),
        confidence=confidence,
    )
