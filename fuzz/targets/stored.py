"""What lies on disk between two runs: batches, judged traces and decisions."""

import random
from typing import Any, Final

import msgspec

from fuzz import mutation, samples
from fuzz.target import Target
from fuzz.targets.oracles import holds
from otel_tracead.processors.tracead.judged import pack_decisions, read_judged, unpack_decisions
from otel_tracead.wire import otlp, zipkin
from otel_tracead.wire.batch import SpanBatch
from otel_tracead.wire.otlp import Envelopes
from otel_tracead.wire.stored import pack, unpack

_SPANS: Final = [b"a", b"bc", b"def"]


def _run(data: bytes) -> None:
    try:
        batch = unpack(data, Envelopes())
    except ValueError:
        pass
    else:
        again = unpack(pack(batch), Envelopes())
        holds(_plain(again), _plain(batch), "a batch stored again")
    try:
        parcel = read_judged(data)
    except ValueError:
        pass
    else:
        parcel.requests()
        list(parcel.decisions())
        for trace in parcel.traces:
            if trace.spans <= len(_SPANS):
                trace.annotated(_SPANS[: trace.spans])
    try:
        decisions = unpack_decisions(data)
    except ValueError:
        return
    holds(pack_decisions(decisions), data, "decisions stored again")


def _plain(batch: SpanBatch) -> Any:
    return [
        (envelope.resource, envelope.scope, [(bytes(span), getattr(span, "origin", None)) for span in spans])
        for envelope, spans in batch.groups
    ]


def _mutate(data: bytes, choice: random.Random) -> bytes:
    try:
        tree = msgspec.msgpack.decode(data)
    except (ValueError, RecursionError):
        return mutation.any_bytes(data, choice)
    return msgspec.msgpack.encode(_changed(tree, choice)) if choice.random() < 0.7 else mutation.any_bytes(data, choice)


def _changed(value: Any, choice: random.Random) -> Any:
    if isinstance(value, list) and value and choice.random() < 0.85:
        at = choice.randrange(len(value))
        match choice.randrange(6):
            case 0:
                return value[:at] + value[at + 1 :]
            case 1:
                return [*value, value[at]]
            case _:
                return [*value[:at], _changed(value[at], choice), *value[at + 1 :]]
    if isinstance(value, dict) and value and choice.random() < 0.7:
        key = choice.choice(list(value))
        return {**value, choice.choice((key, 0, 3, -1, 1 << 63)): _changed(value[key], choice)}
    if isinstance(value, bytes) and choice.random() < 0.7:
        return mutation.any_bytes(value, choice)
    integers = [number for number in mutation.INTEGERS if number < 1 << 64]
    return choice.choice((None, True, "a", b"", b"a" * 16, [], [value], {0: value}, *integers, -1))


def _seeds() -> list[bytes]:
    batch = otlp.decode_request(samples.request(), Envelopes())
    translated = zipkin.decode_spans(samples.zipkin()[0], Envelopes())
    trace = [b"i" * 16, 1, 3, [1, 2], -1, {0: b"x"}, {1: [b"s", b"{}"], 2: [b"s", None]}]
    return [
        pack(batch),
        pack(translated),
        msgspec.msgpack.encode([1, True, [trace, [b"j" * 16, 0, 1, [3]]]]),
        b"i" * 16 + b"\1" + b"j" * 16 + b"\0",
    ]


STORED: Final = Target(
    name="stored",
    what="records on disk: batches, judged traces, decisions; there and back",
    run=_run,
    seeds=_seeds,
    mutate=_mutate,
)
