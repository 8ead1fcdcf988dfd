"""The detector: a model artifact that judges whole traces."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from otel_tracead.artifact import folder as artifacts
from otel_tracead.artifact.calibration import CHANNELS, Calibration
from otel_tracead.artifact.folder import Artifact
from otel_tracead.detection import evidence as collected
from otel_tracead.detection.evidence import LABEL, SERVICE, STEP, TIME, Evidence, Known
from otel_tracead.detection.explanation import (
    StructuralMark,
    Transitions,
    blame_steps,
    bound,
    mixture_median,
    mixture_surprise,
    names,
)
from otel_tracead.detection.scorer import Details, Provider, Scorer
from otel_tracead.detection.verdicts import AnomalyType, Level, ModelInfo, SpanVerdict, TraceVerdict
from otel_tracead.errors import ArtifactError
from otel_tracead.traces.dictionary import Dictionary
from otel_tracead.traces.encoding import Encoder, Events
from otel_tracead.traces.labels import LabelTemplate
from otel_tracead.traces.sequences import Order
from otel_tracead.traces.trace import Trace

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

UNKNOWN_TRAFFIC: Final = "unknown_traffic"
_HIGH: Final = 1.0
"""Decades above the threshold from which on a level is high (contract, section 3)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionSettings:
    """What the user decides about verdicts (contract, section 2).

    Attributes:
        false_positive_rate: the share of normal traces that may be marked.
        unknown_labels: a trace with a larger share of labels that are not the model's traffic is unscored.
        top_k: the paper's structural rule instead of the calibrated one; None = calibrated.
        confidence: the paper's response-time rule instead of the calibrated one; None = calibrated.
    """

    false_positive_rate: float = 0.01
    unknown_labels: float = 0.2
    top_k: int | None = None
    confidence: float | None = None


@dataclass(slots=True)
class Judged:
    """What is known of a batch of traces before anything is put in words.

    Attributes:
        events: the traces.
        known: in the model's terms.
        evidence: what speaks against them.
        channels: strongest evidence of each trace and channel, in decades `[channels, traces]`.
        score: of each trace: -log10 of the share of normal traces with evidence as strong `[traces]`.
        foreign: share of each trace's events that are not the model's traffic `[traces]`.
    """

    events: Events
    known: Known
    evidence: Evidence
    channels: Floats
    score: Floats
    foreign: Floats


class ModelDetector:
    """Judges traces with a model; implements `otel_tracead.detection.verdicts.Detector`. Not thread-safe.

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
        self._settings = settings
        self._transitions = Transitions(calibration, dictionary)
        self.threshold = float(-np.log10(settings.false_positive_rate))
        # The same threshold on the scale of a channel: the trace's score is a growing function of it.
        self._wanted = calibration.trace_tail.inverse(self.threshold)

    @property
    def model(self) -> ModelInfo:
        """Which model this is."""
        return self._info

    def judge(self, traces: Sequence[Trace], *, every_span: bool = False) -> list[TraceVerdict]:
        """Judge *traces*; see `Detector.judge`."""
        return self.verdicts(self.assess(self._encoder.encode(traces)), every_span=every_span)

    def assess(self, events: Events) -> Judged:
        """Score events that were encoded with this model's template."""
        known = collected.translate(events, self._dictionary, self._calibration.center, self._calibration.scale)
        surprise = self._scorer.surprise(known.label, known.scaled, events.offsets)
        found = collected.gather(events, known, surprise, self._calibration)
        raw = collected.strongest(events, found)
        tails = self._calibration.channel_tails
        channels = np.array([tails.strength(raw[i], i) for i in range(len(CHANNELS))]).reshape(len(CHANNELS), -1)
        foreign = np.bincount(events.trace, weights=known.foreign, minlength=events.traces)
        return Judged(
            events=events,
            known=known,
            evidence=found,
            channels=channels,
            score=self._calibration.trace_tail.strength(channels.max(axis=0)),
            foreign=foreign / np.maximum(np.diff(events.offsets), 1),
        )

    def verdicts(self, judged: Judged, *, every_span: bool = False) -> list[TraceVerdict]:
        """Put what was found in words, one verdict a trace."""
        events = judged.events
        complete = (events.roots == 1) & (events.orphans == 0)
        unknown = np.bincount(events.trace, weights=judged.known.unseen, minlength=events.traces)
        out: list[TraceVerdict] = []
        for trace, score in enumerate(judged.score.tolist()):
            verdict_span = int(events.root[trace])
            if judged.foreign[trace] > self._settings.unknown_labels:
                out.append(
                    TraceVerdict(
                        verdict_span=verdict_span,
                        complete=bool(complete[trace]),
                        unscored=UNKNOWN_TRAFFIC,
                        unknown_labels=int(unknown[trace]),
                    )
                )
                continue
            anomalous = score >= self.threshold
            spans: Mapping[int, SpanVerdict] = {}
            missing: tuple[str, ...] = ()
            if anomalous:
                spans, missing = self._explain(judged, trace)
            if every_span:
                spans = {**self._all_spans(judged, trace), **spans}
            out.append(
                TraceVerdict(
                    verdict_span=verdict_span,
                    complete=bool(complete[trace]),
                    anomalous=anomalous,
                    score=score,
                    level=self._level(score) if anomalous else None,
                    missing=missing if events.orphans[trace] == 0 else (),
                    spans=spans,
                    unknown_labels=int(unknown[trace]),
                )
            )
        return out

    def _level(self, score: float) -> Level:
        return Level.HIGH if score >= self.threshold + _HIGH else Level.LOW

    def _event_strengths(self, judged: Judged, trace: int) -> Floats:
        """Give the strength of each event of a trace by channel, in the channel's decades `[channels, n]`."""
        first, last = judged.events.offsets[trace], judged.events.offsets[trace + 1]
        rows = slice(int(first), int(last))
        tails, found = self._calibration.channel_tails, judged.evidence
        strengths = np.zeros((len(CHANNELS), int(last - first)))
        strengths[LABEL] = tails.strength(found.label[rows], LABEL)
        strengths[TIME] = tails.strength(found.time[rows], TIME)
        strengths[SERVICE] = tails.strength(found.service[rows], SERVICE)
        ours = np.flatnonzero((found.steps.trace == trace) & found.new)
        step = tails.strength(found.step[ours], STEP)
        for index, strength in zip(ours.tolist(), step.tolist(), strict=True):
            row = int(found.steps.event[index])
            row = row if row >= 0 else int(found.steps.caller[index])
            if row >= 0:
                strengths[STEP, row - first] = max(strengths[STEP, row - first], strength)
        return strengths

    def _all_spans(self, judged: Judged, trace: int) -> dict[int, SpanVerdict]:
        strongest = self._event_strengths(judged, trace).max(axis=0)
        scores = self._calibration.trace_tail.strength(strongest)
        first = int(judged.events.offsets[trace])
        # An event's own evidence may be over the threshold and yet be explained by another event.
        highest = np.nextafter(self.threshold, 0.0)
        return {
            int(judged.events.span[first + row]): SpanVerdict(anomalous=False, score=float(min(score, highest)))
            for row, score in enumerate(scores.tolist())
        }

    def _explain(self, judged: Judged, trace: int) -> tuple[dict[int, SpanVerdict], tuple[str, ...]]:
        """Find the spans of an anomalous trace that are to blame, and the labels that are missing."""
        events = judged.events
        first = int(events.offsets[trace])
        strengths = self._event_strengths(judged, trace)
        structural, ended = self._structural_marks(judged, trace, strengths)
        slow = self._slow_rows(judged, trace, strengths)
        rows = slice(first, int(events.offsets[trace + 1]))
        details: Details | None = None
        if slow or any(mark is None for mark in structural.values()):
            details = self._scorer.details(
                judged.known.label[rows], judged.known.scaled[rows], np.array([0, rows.stop - rows.start]), 0
            )
        spans: dict[int, SpanVerdict] = {}
        missing: list[str] = []
        for row in sorted({*structural, *slow}):
            values: dict[str, object] = {}
            best = 0.0
            if row in structural:
                best = max(best, float(strengths[[LABEL, STEP], row].max()), ended.get(row, 0.0))
                mark = structural[row]
                if mark is not None:
                    values |= {
                        "rank": mark.expectation.rank,
                        "probability": mark.expectation.probability,
                        "expected": names(mark.expectation.expected, self._dictionary),
                    }
                    missing.extend(names(mark.missing, self._dictionary))
                elif details is not None:
                    values |= self._by_network(judged, first, row, details)
                    if row + first == rows.stop - 1 and row in ended:
                        missing.extend(label for label in values["expected"][:1] if label != "!0")  # type: ignore[index]
            if row in slow and details is not None:
                best = max(best, float(strengths[[TIME, SERVICE], row].max()))
                values |= self._times(judged, first + row, details.mixture[row], slow[row])
            kind = AnomalyType.STRUCTURAL if row not in slow else AnomalyType.RESPONSE_TIME
            if row in structural and row in slow:
                kind = AnomalyType.BOTH
            score = max(float(self._calibration.trace_tail.strength(np.array([best]))[0]), self.threshold)
            spans[int(events.span[first + row])] = SpanVerdict(
                anomalous=True,
                type=kind,
                score=score,
                level=self._level(score),
                **values,  # type: ignore[arg-type]
            )
        return spans, tuple(dict.fromkeys(missing))

    def _structural_marks(
        self, judged: Judged, trace: int, strengths: Floats
    ) -> tuple[dict[int, StructuralMark | None], dict[int, float]]:
        """Give the rows with a structural anomaly: with a mark of the rules, or None where only the network says so.

        Also how strong the ending of calls speaks against a row.
        """
        events, found = judged.events, judged.evidence
        first, last = int(events.offsets[trace]), int(events.offsets[trace + 1])
        tails = self._calibration.channel_tails
        ours = np.flatnonzero((found.steps.trace == trace) & found.new)
        strength = tails.strength(found.step[ours], STEP)
        strong = ours[strength >= self._wanted]
        if len(strong):

            def local(row: int) -> int:
                return row - first if row >= 0 else -1

            new = [
                (local(int(found.steps.caller[i])), local(int(found.steps.before[i])), local(int(found.steps.event[i])))
                for i in strong.tolist()
            ]
            parent = events.parent[first:last]
            marks = blame_steps(
                new, judged.known.label[first:last], np.where(parent >= 0, parent - first, -1), self._transitions
            )
            top = float(strength.max())
            return {mark.row: mark for mark in marks}, {mark.row: top for mark in marks}
        ending = float(tails.strength(found.ending[trace : trace + 1], LABEL)[0])
        over = np.flatnonzero(strengths[LABEL] >= self._wanted)
        if len(over):
            return {int(over[0]): None}, {}
        if ending >= self._wanted:
            return {last - first - 1: None}, {last - first - 1: ending}
        return {}, {}

    def _slow_rows(self, judged: Judged, trace: int, strengths: Floats) -> dict[int, int]:
        """Give the rows with a response-time anomaly, and the channel that says so."""
        first, last = int(judged.events.offsets[trace]), int(judged.events.offsets[trace + 1])
        slow = dict.fromkeys(np.flatnonzero(strengths[TIME] >= self._wanted).tolist(), TIME)
        service = judged.events.service[first:last]
        tail = judged.evidence.tail[first:last]
        over = strengths[SERVICE] >= self._wanted
        for one in np.unique(service[over]).tolist():
            members = np.flatnonzero(service == one)
            if not any(row in slow for row in members.tolist()):
                slow[int(members[np.argmax(tail[members])])] = SERVICE
        return slow

    def _by_network(self, judged: Judged, first: int, row: int, details: Details) -> dict[str, object]:
        ending = first + row + 1 == judged.events.offsets[int(judged.events.trace[first]) + 1] and not (
            self._calibration.channel_tails.strength(judged.evidence.label[first + row : first + row + 1], LABEL)[0]
            >= self._wanted
        )
        position = row + 1 if ending else row
        surprise = judged.evidence.ending[judged.events.trace[first]] if ending else judged.evidence.label[first + row]
        return {
            "rank": int(details.rank[position]),
            "probability": float(np.exp(-surprise)),
            "expected": names(tuple(details.top[position].tolist()), self._dictionary),
        }

    def _times(self, judged: Judged, row: int, mixture: npt.NDArray[np.float32], channel: int) -> dict[str, object]:
        """Give what was expected of a span's response time, and the bound that it crossed, both in milliseconds."""
        events, calibration = judged.events, self._calibration
        label = int(judged.known.label[row])
        center, scale = float(calibration.center[label]), max(float(calibration.scale[label]), 0.05)
        own = float(events.self_us[row])
        covered = float(events.duration_us[row]) - own
        expected = max(10.0 ** (center + scale * mixture_median(mixture)) - 1.0, 0.0)
        expected = min(expected, own)

        def strength(own_us: float) -> float:
            scaled = (np.log10(1.0 + own_us) - center) / scale
            tail = calibration.time_tails.strength(np.array([mixture_surprise(mixture, scaled)]), np.array([label]))
            weight = judged.evidence.time[row] / max(float(judged.evidence.tail[row]), 1e-12)
            share = (own_us - min(own_us, 10.0**center - 1.0)) / max(own - (10.0**center - 1.0), 1e-9)
            weighted = tail * np.log10(1.0 + (10.0**weight - 1.0) * min(max(share, 0.0), 1.0))
            return float(calibration.channel_tails.strength(weighted, TIME)[0])

        upper = bound(strength, expected, own, self._wanted) if channel == TIME else expected
        return {"expected_ms": (covered + expected) / 1e3, "upper_ms": (covered + upper) / 1e3}


def load_detector(
    path: Path,
    *,
    settings: DetectionSettings | None = None,
    execution_provider: Provider = "auto",
    require_report_card: bool = True,
    threads: int = 1,
) -> ModelDetector:
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
) -> ModelDetector:
    """Make a detector of a verified artifact."""
    manifest = artifact.manifest
    scorer = Scorer(artifact.network, state=manifest.network.state, provider=execution_provider, threads=threads)
    labels = manifest.labels
    try:
        template = LabelTemplate(labels.template, labels.patterns, labels.callee)
        order = Order(labels.order)
    except ValueError as error:
        raise ArtifactError(f"{artifact.folder / artifacts.MANIFEST}: {error}") from error
    return ModelDetector(
        dictionary=artifact.dictionary,
        calibration=artifact.calibration,
        scorer=scorer,
        template=template,
        order=order,
        info=ModelInfo(manifest.name, manifest.version, scorer.execution_provider),
        settings=settings,
    )
