"""JSON trace files: one document a line, or documents of any size cut into their elements."""

from collections.abc import Iterator
from io import BufferedReader
from typing import Any

import orjson

from otel_tracead.errors import InvalidRequest
from otel_tracead.wire import jaeger, otlp_json, zipkin
from otel_tracead.wire._json_scan import Element, ElementScanner, ScanError
from otel_tracead.wire._sources import DAMAGE, LIMIT, FileProblem, NoTraces
from otel_tracead.wire.batch import SpanBatch
from otel_tracead.wire.otlp import Envelopes

_FIRST_LINE = 4 << 20  # a longer one is cut into elements
_TOGETHER = 500  # spans of a Zipkin file make one batch, if they are not
_TOGETHER_BYTES = 1 << 20  # larger together

_OTLP, _JAEGER, _ZIPKIN_SPAN, _ZIPKIN_LIST, _OTHER_LIST = "OTLP", "Jaeger", "Zipkin span", "Zipkin", "list"
_OTLP_KEYS = frozenset(
    f"{resource}{end}"
    for resource, ends in (("resource", ("Spans", "Logs", "Metrics")), ("resource_", ("spans", "logs", "metrics")))
    for end in ends
)
_CUT = "if the file was cut, get it again or delete its last line"


def read(stream: BufferedReader, envelopes: Envelopes) -> Iterator[tuple[int, SpanBatch]]:
    """Give (line, batch) of each document, line or group of elements.

    Raises:
        FileProblem: after the last good batch.
    """
    number, first = 1, stream.readline(_FIRST_LINE)
    while first and not first.strip():
        number, first = number + first.endswith(b"\n"), stream.readline(_FIRST_LINE)
    if not first:
        raise FileProblem("the file is empty; was it written to its end?", line=number)
    whole = len(first) < _FIRST_LINE or first.endswith(b"\n")
    kind = _kind_of_line(first, number) if whole else None
    if kind in (_OTLP, _JAEGER, _ZIPKIN_SPAN, _ZIPKIN_LIST):
        parts: Iterator[tuple[int, str, bytes]] = _lines(stream, kind, number, first)
    else:
        parts = _elements(stream, number, first)
    yield from _batches(parts, envelopes)


def _kind_of_line(line: bytes, number: int) -> str | None:
    """Tell the kind of a line that is one whole document; None if it is none."""
    try:
        document = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return _kind(document, number)


def _kind(document: Any, line: int) -> str:
    if type(document) is dict:
        if not document or not _OTLP_KEYS.isdisjoint(document):
            return _OTLP
        if type(document.get("data", 0)) in (list, type(None)) or ("spans" in document and "processes" in document):
            return _JAEGER
        if "traceId" in document and "id" in document:
            return _ZIPKIN_SPAN
    elif type(document) is list:
        if not document or (type(document[0]) is dict and _kind(document[0], line) == _ZIPKIN_SPAN):
            return _ZIPKIN_LIST
        return _OTHER_LIST
    raise NoTraces(
        "JSON, but neither OTLP (`resourceSpans`), Zipkin v2 (`traceId`, `id`) nor Jaeger (`data`)", line=line
    )


def _lines(stream: BufferedReader, kind: str, number: int, line: bytes) -> Iterator[tuple[int, str, bytes]]:
    while line:
        if len(line) > LIMIT:
            raise FileProblem(f"a line of more than {LIMIT >> 20} MiB; write fewer spans a line", line=number)
        if line.strip():
            yield number, kind, line
        number, line = number + 1, stream.readline(LIMIT + 1)


def _elements(stream: BufferedReader, number: int, first: bytes) -> Iterator[tuple[int, str, bytes]]:
    rest = [first]

    def more(size: int) -> bytes:
        return rest.pop() if rest else stream.read1(size)

    keys = frozenset({"resourceSpans", "resource_spans", "data"})
    kind: str | None = None
    try:
        for element in ElementScanner(more, keys, LIMIT, number):
            if element.container is None or not element.container:
                if kind is None:
                    kind = _kind(_parsed(element), element.line)
                yield element.line, kind, element.raw
            elif element.container == "data":
                yield element.line, _JAEGER, element.raw
            else:
                yield element.line, _OTLP, b'{"resourceSpans":[' + element.raw + b"]}"
    except ScanError as error:
        raise FileProblem(f"{error}; {_CUT}", line=error.line) from error


def _parsed(element: Element) -> Any:
    try:
        return orjson.loads(element.raw)
    except orjson.JSONDecodeError as error:
        raise FileProblem(f"not valid JSON: {error}; {_CUT}", line=element.line + error.lineno - 1) from error


def _batches(parts: Iterator[tuple[int, str, bytes]], envelopes: Envelopes) -> Iterator[tuple[int, SpanBatch]]:
    waiting: list[tuple[int, bytes]] = []
    size = 0
    try:
        for line, kind, raw in parts:
            if kind == _ZIPKIN_SPAN:
                waiting.append((line, raw))
                size += len(raw)
                if len(waiting) < _TOGETHER and size < _TOGETHER_BYTES:
                    continue
                together, waiting, size = waiting, [], 0
                yield from _zipkin_spans(together, envelopes)
            else:
                yield line, _decoded(line, kind, raw, envelopes)
    except (FileProblem, OSError, *DAMAGE):
        yield from _zipkin_spans(waiting, envelopes)  # they came before the problem
        raise
    yield from _zipkin_spans(waiting, envelopes)


def _zipkin_spans(spans: list[tuple[int, bytes]], envelopes: Envelopes) -> Iterator[tuple[int, SpanBatch]]:
    if not spans:
        return
    try:
        yield spans[0][0], zipkin.decode_spans(b"[" + b",".join(raw for _, raw in spans) + b"]", envelopes)
    except InvalidRequest:
        for line, raw in spans:  # which one was it?
            yield line, _decoded(line, _ZIPKIN_LIST, b"[" + raw + b"]", envelopes)


def _decoded(line: int, kind: str, raw: bytes, envelopes: Envelopes) -> SpanBatch:
    decode = {
        _OTLP: otlp_json.decode_request,
        _JAEGER: jaeger.decode_traces,
        _ZIPKIN_LIST: zipkin.decode_spans,
    }.get(kind, zipkin.decode_spans)
    try:
        return decode(raw, envelopes)
    except InvalidRequest as error:
        raise FileProblem(f"{error}; {_CUT}", line=line) from error
