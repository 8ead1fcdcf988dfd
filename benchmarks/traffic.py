"""Traffic packed once for all runs: encoded requests, and where the trace ids stand in them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from otel_tracead.wire.batch import Envelope, group
from otel_tracead.wire.otlp import encode_request

# Field 1 of a span, length 16.
_TRACE_ID_TAG = b"\x0a\x10"


@dataclass(frozen=True, slots=True)
class Traffic:
    """Requests that may be sent again and again, each time with trace ids of their own.

    Attributes:
        bodies: encoded `ExportTraceServiceRequest`s.
        trace_ids: for each body, the offsets of its trace ids, one for each span.
    """

    bodies: list[bytes]
    trace_ids: list[NDArray[np.int64]]

    @property
    def spans(self) -> int:
        """How many spans one round has."""
        return sum(map(len, self.trace_ids))

    @property
    def bytes_per_span(self) -> float:
        """The mean size of a span with its share of the envelopes."""
        return sum(map(len, self.bodies)) / self.spans

    def rounds(self, first: int) -> Iterator[tuple[bytes, int]]:
        """Give (request, number of spans) forever; in round *n* every trace id is xored with *n*."""
        number = first
        while True:
            salt = np.frombuffer(number.to_bytes(4, "big"), dtype=np.uint8)
            for body, offsets in zip(self.bodies, self.trace_ids, strict=True):
                patched = np.frombuffer(body, dtype=np.uint8).copy()
                for index, byte in enumerate(salt):
                    patched[offsets + index] ^= byte
                yield patched.tobytes(), len(offsets)
            number += 1

    def save(self, path: Path) -> None:
        """Write it for `load`."""
        np.savez(
            path,
            bodies=np.frombuffer(b"".join(self.bodies), dtype=np.uint8),
            lengths=np.array([len(body) for body in self.bodies]),
            offsets=np.concatenate(self.trace_ids),
            counts=np.array([len(offsets) for offsets in self.trace_ids]),
        )

    @classmethod
    def load(cls, path: Path) -> "Traffic":
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as stored:
            bodies = np.split(stored["bodies"], np.cumsum(stored["lengths"])[:-1])
            offsets = np.split(stored["offsets"], np.cumsum(stored["counts"])[:-1])
        return cls([body.tobytes() for body in bodies], offsets)


def pack(spans: Iterable[tuple[Envelope, bytes]], per_request: int) -> Traffic:
    """Pack (envelope, encoded span) pairs, in the order in which they would arrive, into requests.

    Raises:
        ValueError: a span does not begin with a trace id of 16 bytes, or there are too few spans for one request.
    """
    bodies, trace_ids = [], []
    for part in _parts(spans, per_request):
        batch = group([envelope for envelope, _ in part], [span for _, span in part])
        body = encode_request(batch)
        bodies.append(body)
        trace_ids.append(_trace_ids(body, [span for _, span in batch]))
    if not bodies:
        raise ValueError(f"fewer than {per_request} spans: not one request")
    return Traffic(bodies, trace_ids)


def _parts(spans: Iterable[tuple[Envelope, bytes]], size: int) -> Iterator[list[tuple[Envelope, bytes]]]:
    """Cut *spans* into lists of *size*; an incomplete last one is left out."""
    iterator = iter(spans)
    while len(part := list(islice(iterator, size))) == size:
        yield part


def _trace_ids(body: bytes, spans: list[bytes]) -> NDArray[np.int64]:
    """Find where the trace ids of *spans* stand in *body*, which holds them in this order."""
    offsets = []
    position = 0
    for span in spans:
        if not span.startswith(_TRACE_ID_TAG):
            raise ValueError("a span does not begin with its trace id")
        position = body.index(span, position)
        offsets.append(position + len(_TRACE_ID_TAG))
        position += len(span)
    return np.array(offsets, dtype=np.int64)
