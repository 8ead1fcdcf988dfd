"""Verdicts become `tracead.*` attributes, appended to the bytes of the spans that they are about; nothing else changes."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

from otel_tracead.detection.verdicts import AnomalyType, ModelInfo, SpanVerdict, TraceVerdict
from otel_tracead.traces.late import Decision
from otel_tracead.traces.trace import Release, Trace
from otel_tracead.wire.attributes import OWN_PREFIX, append_attributes, encode_attribute, strip_attributes


class Mode(StrEnum):
    """Which spans get `tracead.anomaly.*`: `anomalous` those, `all` also the normal ones, `root` none but the verdict span.

    The verdict span has the trace's keys in every mode, and its own anomaly in every mode if it has one.
    """

    ANOMALOUS = "anomalous"
    ALL = "all"
    ROOT = "root"


class Annotated(NamedTuple):
    """Spans after annotation.

    Attributes:
        spans: in the order in which they came.
        spoofed: how many of them came with `tracead.*` attributes; those were removed.
    """

    spans: list[bytes]
    spoofed: int


class AnnotatedTrace(NamedTuple):
    """The spans of a trace after annotation.

    Attributes:
        spans: in the order in which they came.
        spoofed: how many of them came with `tracead.*` attributes; those were removed.
        size: how many bytes all of them have.
    """

    spans: list[bytes]
    spoofed: int
    size: int


def annotate(trace: Trace, verdict: TraceVerdict, mode: Mode, model: ModelInfo) -> AnnotatedTrace:
    """Give the spans of *trace* with their attributes; spans without any are the same objects as before.

    Args:
        trace: as it was released.
        verdict: on it.
        mode: which spans are annotated.
        model: that judged.

    Raises:
        IndexError: the verdict is about a span that the trace does not have.
    """
    if may_hold_own_keys(trace):
        spans, spoofed = strip(trace.spans)
        size = sum(map(len, spans))
    else:
        spans, spoofed, size = list(trace.spans), 0, trace.size
    at = verdict.verdict_span
    if verdict.unscored is not None:
        of_trace = encode_attribute("tracead.unscored", verdict.unscored)
    else:
        if verdict.spans or mode is Mode.ALL:
            for index, encoded in _marks(verdict, mode, len(spans)).items():
                spans[index] = append_attributes(spans[index], encoded)
                size += len(encoded)
        of_trace = _of_trace(verdict) + _of_release(verdict.complete, trace.release, model.name, model.version)
    spans[at] = append_attributes(spans[at], of_trace)
    return AnnotatedTrace(spans, spoofed, size + len(of_trace))


def may_hold_own_keys(trace: Trace) -> bool:
    """Say whether anything in the spans of *trace* looks like a key of ours."""
    return trace.joined().content.rfind(OWN_PREFIX) >= 0  # backwards Python searches twice as fast as `in` does


def annotate_late(spans: Sequence[bytes], decisions: Sequence[Decision]) -> Annotated:
    """Give spans that came after their trace's verdict, each with what the trace was found to be."""
    cleaned, spoofed = strip(spans)
    marked = [append_attributes(s, _of_late(decision)) for s, decision in zip(cleaned, decisions, strict=True)]
    return Annotated(marked, spoofed)


def annotate_unscored(spans: Sequence[bytes], reason: str) -> Annotated:
    """Give spans that belong to no trace, each with the reason why there is no verdict."""
    cleaned, spoofed = strip(spans)
    encoded = encode_attribute("tracead.unscored", reason)
    return Annotated([append_attributes(span, encoded) for span in cleaned], spoofed)


def strip(spans: Sequence[bytes]) -> Annotated:
    """Remove `tracead.*` attributes that came from outside; clean spans are the same objects as before."""
    cleaned = list(spans)
    spoofed = 0
    if OWN_PREFIX in b"".join(cleaned):
        for index, span in enumerate(cleaned):
            cleaned[index], removed = strip_attributes(span)
            spoofed += removed > 0
    return Annotated(cleaned, spoofed)


def _marks(verdict: TraceVerdict, mode: Mode, spans: int) -> dict[int, bytes]:
    verdicts: Mapping[int, SpanVerdict] = verdict.spans
    if mode is Mode.ROOT:
        verdicts = {index: found for index, found in verdicts.items() if index == verdict.verdict_span}
    marks = {index: _of_anomaly(found) for index, found in verdicts.items() if found.anomalous} if verdicts else {}
    if mode is Mode.ALL:
        normal = encode_attribute("tracead.anomaly.detected", False)
        marks = dict.fromkeys(range(spans), normal) | marks
    return marks


def _of_anomaly(found: SpanVerdict) -> bytes:
    parts = [
        encode_attribute("tracead.anomaly.detected", True),
        encode_attribute("tracead.anomaly.score", float(found.score)),
    ]
    if found.type is not None:
        parts.append(encode_attribute("tracead.anomaly.type", found.type.value))
    if found.level is not None:
        parts.append(encode_attribute("tracead.anomaly.level", found.level.value))
    if found.type in (AnomalyType.STRUCTURAL, AnomalyType.BOTH):
        if found.rank is not None:
            parts.append(encode_attribute("tracead.structure.rank", int(found.rank)))
        if found.probability is not None:
            parts.append(encode_attribute("tracead.structure.probability", float(found.probability)))
        parts.append(encode_attribute("tracead.structure.expected", found.expected))
    if found.type in (AnomalyType.RESPONSE_TIME, AnomalyType.BOTH):
        if found.expected_ms is not None:
            parts.append(encode_attribute("tracead.response_time.expected_ms", float(found.expected_ms)))
        if found.upper_ms is not None:
            parts.append(encode_attribute("tracead.response_time.upper_ms", float(found.upper_ms)))
    return b"".join(parts)


def _of_trace(verdict: TraceVerdict) -> bytes:
    score = encode_attribute("tracead.trace.score", float(verdict.score))
    if not verdict.anomalous:
        return _of_normal_trace() + score
    marked = sum(found.anomalous for found in verdict.spans.values())
    parts = [
        encode_attribute("tracead.trace.anomalous", True),
        encode_attribute("tracead.trace.anomalous_spans", marked),
        score,
    ]
    if verdict.level is not None:
        parts.append(encode_attribute("tracead.trace.level", verdict.level.value))
    if verdict.missing:
        parts.append(encode_attribute("tracead.trace.missing", verdict.missing))
    return b"".join(parts)


@lru_cache(maxsize=1)
def _of_normal_trace() -> bytes:
    return encode_attribute("tracead.trace.anomalous", False) + encode_attribute("tracead.trace.anomalous_spans", 0)


@lru_cache(maxsize=64)
def _of_release(complete: bool, release: Release, model: str, version: str) -> bytes:  # the same on most traces
    return b"".join(
        (
            encode_attribute("tracead.trace.complete", complete),
            encode_attribute("tracead.trace.release", release.value),
            encode_attribute("tracead.model.name", model),
            encode_attribute("tracead.model.version", version),
        )
    )


@lru_cache(maxsize=len(Decision))
def _of_late(decision: Decision) -> bytes:
    return encode_attribute("tracead.late", True) + encode_attribute("tracead.late_verdict", decision.value)
