"""`SpanBatch` to and from the bytes of a record on disk; every span, original and unknown field survives byte for byte.

Ours alone: msgpack of `[version, [[resource, scope, spans], ...]]`, where a span is its bytes, or `[bytes, origin]`
for a `TranslatedSpan`. The store below adds a checksum; what is checked here is that a record is what it should be.
"""

from typing import Final

import msgspec
from google.protobuf.message import DecodeError

from otel_tracead.wire.batch import Envelope, SpanBatch, TranslatedSpan
from otel_tracead.wire.otlp import Envelopes

MAX_RECORD: Final = 512 << 20
"""Bytes of the largest record that is read; about what `SpanBatch.size()` says, and a few bytes more for each span."""

_VERSION: Final = 1

_Stored = tuple[int, list[tuple[bytes, bytes, list[bytes | tuple[bytes, bytes]]]]]


def _pair(span: object) -> tuple[memoryview, bytes]:
    if not isinstance(span, TranslatedSpan):
        raise TypeError(f"not a span: {type(span).__name__}")
    return memoryview(span), span.origin


# The encoder takes plain bytes by itself and asks for what is made of them, so that plain spans cost no Python.
_ENCODER: Final = msgspec.msgpack.Encoder(enc_hook=_pair)
_DECODER: Final = msgspec.msgpack.Decoder(_Stored)


def pack(batch: SpanBatch) -> bytes:
    """Give the record of *batch*."""
    groups = [(envelope.resource, envelope.scope, spans) for envelope, spans in batch.groups]
    return _ENCODER.encode((_VERSION, groups))


def unpack(record: bytes, envelopes: Envelopes) -> SpanBatch:
    """Give the batch of *record*: the same groups with equal spans.

    Takes at most a hundred times as much memory as the record has bytes. Spans are not looked into.

    Args:
        record: what `pack` gave.
        envelopes: what envelopes are shared through.

    Raises:
        ValueError: it is no such record, one of another version, or larger than `MAX_RECORD`.
    """
    if len(record) > MAX_RECORD:
        raise ValueError(f"a record of {len(record)} bytes is larger than {MAX_RECORD}")
    try:
        version, stored = _DECODER.decode(record)
        if version != _VERSION:
            raise ValueError(f"a record of version {version}, not {_VERSION}")
        groups = [_group(envelopes.intern(resource, scope), spans) for resource, scope, spans in stored]
    except (msgspec.DecodeError, DecodeError, RecursionError) as error:
        raise ValueError(f"not a record of spans: {error}") from error
    return SpanBatch(groups)


def _group(envelope: Envelope, stored: list[bytes | tuple[bytes, bytes]]) -> tuple[Envelope, list[bytes]]:
    return envelope, [span if isinstance(span, bytes) else TranslatedSpan(*span) for span in stored]
