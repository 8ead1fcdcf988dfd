"""Traffic whose spans are numbered: each says which one it is, so that what is missing or came twice is known exactly.

A round is a while of the simulated shop, as its instances export it. It is sent again and again, at its own pace: span *i* of round
*r* has the number `r * spans + i`, which is its id less one; a trace's number stands in the last half of its trace id. Times
move on with the rounds.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from enum import IntEnum
from pathlib import Path
from typing import Any, Final
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from otel_tracead.generator import Scenario, requests, simulate
from otel_tracead.wire.batch import SpanBatch, group
from otel_tracead.wire.otlp import Envelopes, decode_request, encode_request
from otel_tracead.wire.zipkin import encode_spans

MARK: Final = b"numbered"
"""The first half of every trace id."""

_Bytes = NDArray[np.uint8]
_Numbers = NDArray[np.int64]

_SPANS_PER_TRACE: Final = 14.4  # of the shop, about
_AT_EASE: Final = 50.0  # traces a second that the shop takes without queues, for each step of its scale
_DIGITS: Final = np.frombuffer(b"0123456789abcdef", dtype=np.uint8)
_TENS: Final = 10 ** np.arange(15, -1, -1, dtype=np.int64)
_EIGHT: Final = np.arange(8)
_SIXTEEN: Final = np.arange(16)
_NOWHERE: Final = -1


class Way(IntEnum):
    """How a request comes in."""

    GRPC = 0
    HTTP = 1
    ZIPKIN = 2


_WAYS: Final = (Way.GRPC, Way.GRPC, Way.HTTP, Way.ZIPKIN)
"""Of four instances of services, so many export each way."""


@dataclass(frozen=True, slots=True)
class Shape:
    """How much a round holds.

    Attributes:
        spans: in all.
        requests: in all.
        traces: in all, with one more number for the giant trace that a round may have.
    """

    spans: int
    requests: int
    traces: int


@dataclass(frozen=True, slots=True)
class Round:
    """A round of traffic, as arrays: a column for each request, or for each span in the order in which they are sent.

    Attributes:
        bodies: all requests, one after another.
        body_ends: where each request ends in `bodies`.
        span_ends: the number of the first span that is no longer in the request.
        ways: a `Way` for each request.
        trace_at: offset of each span's trace id in its request, its last half.
        id_at: offset of the span id.
        parent_at: offset of the parent's id, or -1.
        start_at: offset of the start (Zipkin: of its digits).
        end_at: offset of the end, or -1.
        parents: number of the parent, or -1.
        starts: start, ns (Zipkin: µs).
        ends: end, ns.
        trace_of: number of the trace.
        lasts: how long a round takes, ns; one value.
        begins: when the first request is due, Unix ns; one value.
    """

    bodies: _Bytes
    body_ends: _Numbers
    span_ends: _Numbers
    ways: _Bytes
    trace_at: _Numbers
    id_at: _Numbers
    parent_at: _Numbers
    start_at: _Numbers
    end_at: _Numbers
    parents: _Numbers
    starts: _Numbers
    ends: _Numbers
    trace_of: _Numbers
    lasts: _Numbers
    begins: _Numbers

    @property
    def shape(self) -> Shape:
        """How much it holds."""
        return Shape(len(self.trace_of), len(self.span_ends), int(self.trace_of.max()) + 2)

    @property
    def rate(self) -> float:
        """The shop's own pace, in spans a second."""
        return 1e9 * len(self.trace_of) / int(self.lasts[0])

    @property
    def bytes_per_span(self) -> float:
        """The mean size of a span with its share of the request."""
        return len(self.bodies) / len(self.trace_of)

    def spans_of(self, request: int) -> slice:
        """Give the numbers of the spans of a request."""
        return slice(int(self.span_ends[request - 1]) if request else 0, int(self.span_ends[request]))

    def body(self, request: int, turn: int, start_unix_nano: int, *, giant: bool = False) -> bytes:
        """Give a request of round *turn*; rounds follow each other from *start_unix_nano* on.

        Args:
            request: which one.
            turn: which round.
            start_unix_nano: when round 0 begins.
            giant: whether all spans that come over HTTP belong to one trace.
        """
        begin = int(self.body_ends[request - 1]) if request else 0
        body = self.bodies[begin : int(self.body_ends[request])].copy()
        spans, shape = self.spans_of(request), self.shape
        way = Way(int(self.ways[request]))
        traces = self.trace_of[spans] + turn * shape.traces
        if giant and way is Way.HTTP:
            traces = np.full_like(traces, (turn + 1) * shape.traces - 1)
        numbers = np.arange(spans.start, spans.stop) + turn * shape.spans + 1
        parents = self.parents[spans]
        has = parents != _NOWHERE
        shift = start_unix_nano + turn * int(self.lasts[0]) - int(self.begins[0])
        if way is Way.ZIPKIN:
            _put_hex(body, self.trace_at[spans], traces)
            _put_hex(body, self.id_at[spans], numbers)
            _put_hex(body, self.parent_at[spans][has], parents[has] + turn * shape.spans + 1)
            _put_decimal(body, self.start_at[spans], self.starts[spans] + shift // 1000)
        else:
            _put(body, self.trace_at[spans], traces, ">i8")
            _put(body, self.id_at[spans], numbers, ">i8")
            _put(body, self.parent_at[spans][has], parents[has] + turn * shape.spans + 1, ">i8")
            _put(body, self.start_at[spans], self.starts[spans] + shift, "<i8")
            _put(body, self.end_at[spans], self.ends[spans] + shift, "<i8")
        return body.tobytes()

    def save(self, path: Path) -> None:
        """Write it for `load`."""
        np.savez(path, **{each.name: getattr(self, each.name) for each in fields(self)})

    @classmethod
    def load(cls, path: Path) -> "Round":
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as stored:
            return cls(**{each.name: stored[each.name] for each in fields(cls)})


def record(rate: float, seconds: float, *, per_request: int, export_interval: float = 1.0, seed: int = 1) -> Round:
    """Simulate the shop at about *rate* spans a second for *seconds*, as its instances export: one round.

    Args:
        rate: spans a second.
        seconds: how long a round is.
        per_request: spans of a request, at most.
        export_interval: seconds between two requests of an instance.
        seed: of the simulation.
    """
    traces_per_second = rate / _SPANS_PER_TRACE
    scenario = Scenario(
        seed=seed,
        start_unix_nano=time.time_ns() // 10**9 * 10**9,
        duration_s=seconds,
        traces_per_second=traces_per_second,
        scale=max(1.0, traces_per_second / _AT_EASE),
        daily_swing=0.0,
    )
    envelopes = Envelopes()
    exported = requests(simulate(scenario), batch_spans=per_request, export_interval_s=export_interval)
    batches = [decode_request(body, envelopes) for _, body in exported]
    return _number(batches, scenario.start_unix_nano, int(seconds * 1e9))


def _number(batches: Sequence[SpanBatch], begins: int, lasts: int) -> Round:
    parts: list[dict[str, Any]] = []
    for batch in batches:
        way = _WAYS[crc32(batch.groups[0][0].instance.encode()) % len(_WAYS)]
        grouped = group([envelope for envelope, _ in batch], [span for _, span in batch])
        parts.append({"way": way, **(_zipkin if way is Way.ZIPKIN else _otlp)(grouped)})
    heads = [head for part in parts for head in part["heads"]]
    traces: dict[bytes, int] = {}
    places = {trace + span: number for number, (trace, span, _) in enumerate(heads)}
    trace_of = [traces.setdefault(trace, len(traces)) for trace, _, _ in heads]
    parents = [places.get(trace + parent, _NOWHERE) for trace, _, parent in heads]
    columns = {
        name: np.array([value for part in parts for value in part[name]], dtype=np.int64)
        for name in ("trace_at", "id_at", "parent_at", "start_at", "end_at", "starts", "ends")
    }
    return Round(
        bodies=np.frombuffer(b"".join(part["body"] for part in parts), dtype=np.uint8),
        body_ends=np.cumsum([len(part["body"]) for part in parts]),
        span_ends=np.cumsum([len(part["heads"]) for part in parts]),
        ways=np.array([part["way"] for part in parts], dtype=np.uint8),
        parents=np.array(parents, dtype=np.int64),
        trace_of=np.array(trace_of, dtype=np.int64),
        lasts=np.array([lasts]),
        begins=np.array([begins]),
        **columns,
    )


def _otlp(batch: SpanBatch) -> dict[str, Any]:
    """Where everything stands in a request; the shop writes a span's fields in the order of their numbers."""
    body = bytearray(encode_request(batch))
    found: dict[str, list[Any]] = {name: [] for name in _COLUMNS}
    position = 0
    for _, span in batch:
        at = body.index(span, position)
        position = at + len(span)
        parent, times = _after_ids(span)
        found["heads"].append((span[2:18], span[20:28], span[parent : parent + 8] if parent else b""))
        body[at + 2 : at + 10] = MARK
        for name, offset in (("trace_at", 10), ("id_at", 20), ("start_at", times), ("end_at", times + 9)):
            found[name].append(at + offset)
        found["parent_at"].append(at + parent if parent else _NOWHERE)
        found["starts"].append(int.from_bytes(span[times : times + 8], "little"))
        found["ends"].append(int.from_bytes(span[times + 9 : times + 17], "little"))
    return {"body": bytes(body), **found}


def _after_ids(span: bytes) -> tuple[int, int]:
    """Offsets of the parent's id (0: none) and of the start in a span of the shop."""
    position, parent = 28, 0
    while span[position] != 7 << 3 | 1:
        tag, length = span[position], span[position + 1]
        if tag == 4 << 3 | 2:
            parent = position + 2
        position += 2 if tag == 6 << 3 else 2 + length
        if length >= 0x80:
            raise ValueError("a name or trace state of 128 bytes or more")
    return parent, position + 1


def _zipkin(batch: SpanBatch) -> dict[str, Any]:
    """Where everything stands in a Zipkin request; ids as text."""
    body = bytearray(encode_spans(batch))
    found: dict[str, list[Any]] = {name: [] for name in _COLUMNS}
    position = 0
    for _ in batch:
        trace = body.index(b'"traceId":"', position) + 11
        own = body.index(b'"id":"', trace) + 6
        start = body.index(b'"timestamp":', own) + 12
        parent = body.find(b'"parentId":"', own, start)
        ids = (body[trace : trace + 32], body[own : own + 16], body[parent + 12 : parent + 28] if parent > 0 else b"")
        found["heads"].append(tuple(bytes.fromhex(each.decode()) for each in ids))
        body[trace : trace + 16] = MARK.hex().encode()
        found["trace_at"].append(trace + 16)
        found["id_at"].append(own)
        found["parent_at"].append(parent + 12 if parent > 0 else _NOWHERE)
        found["start_at"].append(start)
        found["end_at"].append(_NOWHERE)
        found["starts"].append(int(body[start : start + 16]))
        found["ends"].append(_NOWHERE)
        position = start
    return {"body": bytes(body), **found}


_COLUMNS: Final = ("heads", "trace_at", "id_at", "parent_at", "start_at", "end_at", "starts", "ends")


def _put(body: _Bytes, at: _Numbers, numbers: _Numbers, form: str) -> None:
    body[at[:, None] + _EIGHT] = numbers.astype(form).view(np.uint8).reshape(-1, 8)


def _put_hex(body: _Bytes, at: _Numbers, numbers: _Numbers) -> None:
    octets = numbers.astype(">i8").view(np.uint8).reshape(-1, 8)
    digits = np.stack((_DIGITS[octets >> 4], _DIGITS[octets & 15]), axis=2).reshape(-1, 16)
    body[at[:, None] + _SIXTEEN] = digits


def _put_decimal(body: _Bytes, at: _Numbers, numbers: _Numbers) -> None:
    body[at[:, None] + _SIXTEEN] = (numbers[:, None] // _TENS % 10 + ord("0")).astype(np.uint8)


def read(heads: bytes) -> tuple[_Numbers, _Numbers, NDArray[np.bool_]]:
    """Read the first 28 bytes of OTLP spans, joined: numbers of spans, numbers of traces, and which spans are ours at all."""
    rows = np.frombuffer(heads, dtype=np.uint8).reshape(-1, 28)
    expected = np.frombuffer(b"\x0a\x10" + MARK, dtype=np.uint8)
    ours = (rows[:, :10] == expected).all(axis=1) & (rows[:, 18] == 0x12) & (rows[:, 19] == 8)
    traces = np.ascontiguousarray(rows[:, 10:18]).view(">i8").ravel().astype(np.int64)
    spans = np.ascontiguousarray(rows[:, 20:28]).view(">i8").ravel().astype(np.int64) - 1
    return spans, traces, ours


def turns(shape: Shape, rate: float, seconds: float) -> int:
    """How many rounds there may be when *rate* spans a second are sent for *seconds*, and then some."""
    return int(1.2 * rate * seconds / shape.spans) + 3


def every(shape: Shape) -> Iterator[tuple[int, int]]:
    """Walk over (round, request), without end."""
    turn = 0
    while True:
        for request in range(shape.requests):
            yield turn, request
        turn += 1
