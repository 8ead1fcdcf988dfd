"""Traffic packed once for all runs: encoded requests, and where the trace ids stand in them."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from otel_tracead.wire.batch import Envelope, SpanBatch, group

_Bytes = NDArray[np.uint8]
_Offsets = NDArray[np.int64]

_TRACE_ID_TAG: Final = b"\x0a\x10"  # field 1 of a span, length 16
_TRACE_ID_KEY: Final = b'"traceId":"'
_DIGITS: Final = np.frombuffer(b"0123456789abcdef", dtype=np.uint8)


class Protocol(StrEnum):
    """What requests are encoded in."""

    OTLP = "otlp"
    ZIPKIN = "zipkin"


@dataclass(frozen=True, slots=True)
class Traffic:
    """Requests that may be sent again and again, each time with trace ids of their own.

    Attributes:
        protocol: OTLP is `ExportTraceServiceRequest`s in protobuf, Zipkin lists of v2 spans in JSON.
        bodies: encoded requests.
        trace_ids: for each body, the offsets of its trace ids, one for each span.
    """

    protocol: Protocol
    bodies: list[bytes]
    trace_ids: list[_Offsets]

    @property
    def spans(self) -> int:
        """How many spans one round has."""
        return sum(map(len, self.trace_ids))

    @property
    def bytes_per_span(self) -> float:
        """The mean size of a span with its share of the envelopes."""
        return sum(map(len, self.bodies)) / self.spans

    def rounds(self, first: int) -> Iterator[tuple[bytes, int]]:
        """Give (request, number of spans) forever; no two rounds have a trace id in common."""
        number = first
        while True:
            salt = number.to_bytes(4, "big")
            for body, offsets in zip(self.bodies, self.trace_ids, strict=True):
                patched = np.frombuffer(body, dtype=np.uint8).copy()
                _SALTED[self.protocol](patched, offsets, salt)
                yield patched.tobytes(), len(offsets)
            number += 1

    def save(self, path: Path) -> None:
        """Write it for `load`."""
        np.savez(
            path,
            protocol=np.array(self.protocol.value),
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
            protocol = Protocol(str(stored["protocol"]))
        return cls(protocol, [body.tobytes() for body in bodies], offsets)


def pack(spans: Iterable[tuple[Envelope, bytes]], per_request: int, protocol: Protocol = Protocol.OTLP) -> Traffic:
    """Pack (envelope, encoded span) pairs, in the order in which they would arrive, into requests.

    Raises:
        ValueError: a span does not begin with a trace id of 16 bytes, or there are too few spans for one request.
    """
    packed = [
        _PACKED[protocol](group([envelope for envelope, _ in part], [span for _, span in part]))
        for part in _parts(spans, per_request)
    ]
    if not packed:
        raise ValueError(f"fewer than {per_request} spans: not one request")
    return Traffic(protocol, [body for body, _ in packed], [offsets for _, offsets in packed])


def _parts(spans: Iterable[tuple[Envelope, bytes]], size: int) -> Iterator[list[tuple[Envelope, bytes]]]:
    """Cut *spans* into lists of *size*; an incomplete last one is left out."""
    iterator = iter(spans)
    while len(part := list(islice(iterator, size))) == size:
        yield part


def _packed_otlp(batch: SpanBatch) -> tuple[bytes, _Offsets]:
    from otel_tracead.wire.otlp import encode_request  # senders read what was packed, and start without it

    body = encode_request(batch)
    offsets = []
    position = 0
    for _, span in batch:
        if not span.startswith(_TRACE_ID_TAG):
            raise ValueError("a span does not begin with its trace id")
        position = body.index(span, position)
        offsets.append(position + len(_TRACE_ID_TAG))
        position += len(span)
    return body, np.array(offsets, dtype=np.int64)


def _packed_zipkin(batch: SpanBatch) -> tuple[bytes, _Offsets]:
    from otel_tracead.wire.zipkin import encode_spans

    body = encode_spans(batch)
    offsets = []
    position = 0
    for _ in batch:
        position = body.index(_TRACE_ID_KEY, position) + len(_TRACE_ID_KEY)
        offsets.append(position)
    return body, np.array(offsets, dtype=np.int64)


_PACKED: Final[dict[Protocol, Callable[[SpanBatch], tuple[bytes, _Offsets]]]] = {
    Protocol.OTLP: _packed_otlp,
    Protocol.ZIPKIN: _packed_zipkin,
}


def _salted_otlp(body: _Bytes, offsets: _Offsets, salt: bytes) -> None:
    for index, byte in enumerate(salt):
        if byte:
            body[offsets + index] ^= byte


def _salted_zipkin(body: _Bytes, offsets: _Offsets, salt: bytes) -> None:
    """Put the salt in the place of the first digits: of 128 bits that differ at random, 96 still do."""
    for index, byte in enumerate(salt):
        body[offsets + 2 * index] = _DIGITS[byte >> 4]
        body[offsets + 2 * index + 1] = _DIGITS[byte & 15]


_SALTED: Final[dict[Protocol, Callable[[_Bytes, _Offsets, bytes], None]]] = {
    Protocol.OTLP: _salted_otlp,
    Protocol.ZIPKIN: _salted_zipkin,
}
