"""Trace files of every form, compressed or not."""

import gzip
import random
import zlib
from functools import cache
from pathlib import Path
from typing import Final

import zstandard

from fuzz import mutation, samples
from fuzz.target import Target, folder_in_memory
from fuzz.targets import oracles
from otel_tracead.errors import InputError, InvalidRequest
from otel_tracead.wire import files, otlp_json
from otel_tracead.wire.batch import SpanBatch, concatenate
from otel_tracead.wire.otlp import Envelopes

_json: Final = mutation.json_text(
    ("resourceSpans", "resource_spans", "scopeSpans", "data", "spans", "processes", "traceId", "id", "a")
)


@cache
def _file() -> Path:
    return folder_in_memory() / "traces"


def _run(data: bytes) -> None:
    path = _file()
    path.write_bytes(data)
    try:
        batches = [batch for _, batch in files.read_file(path)]
    except InputError as error:
        if not str(error).startswith(f"{path}:"):
            raise
        return
    whole = concatenate(batches)
    oracles.leaves(whole)
    try:
        document = otlp_json.decode_request(data, Envelopes())
    except InvalidRequest:
        return
    if b'"data"' not in data and len(document):  # a document of OTLP, however it was cut
        oracles.holds(_sorted(whole), _sorted(document), "a document that was read in parts")


def _sorted(batch: SpanBatch) -> list[tuple[bytes, bytes, bytes]]:
    return sorted((envelope.resource, envelope.scope, span) for envelope, span in batch)


def _mutate(data: bytes, choice: random.Random) -> bytes:
    plain = data
    if data.startswith((b"\x1f\x8b", b"\x28\xb5\x2f\xfd")):
        try:
            unzipped = zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True)
            plain = gzip.decompress(data) if data[0] == 0x1F else unzipped.read(1 << 16)
        except (OSError, EOFError, zlib.error, zstandard.ZstdError):
            return mutation.any_bytes(data, choice)
    lines = plain.split(b"\n") if plain[:1] in b"{[" else [plain]
    at = choice.randrange(len(lines))
    match choice.randrange(5):
        case 0:
            lines[at] = mutation.any_bytes(lines[at], choice)
        case 1:
            lines.insert(at, choice.choice(lines))
        case 2 if plain[:1] not in b"{[" and plain[:1] == b"\0":
            lines[at] = _framed(plain, choice)
        case 2:
            lines[at] = mutation.protobuf(lines[at], choice) if plain[:1] == b"\n" else lines[at] + lines[at]
        case _:
            lines[at] = _json(lines[at], choice)
    changed = b"\n".join(lines)
    pack = choice.choice((None, None, gzip.compress, zstandard.ZstdCompressor().compress))
    return changed if pack is None else pack(changed)


def _framed(data: bytes, choice: random.Random) -> bytes:
    size = int.from_bytes(data[:4], "big")
    message = mutation.protobuf(data[4 : 4 + size], choice)
    if choice.random() < 0.3:
        message = zstandard.ZstdCompressor().compress(message)
    return len(message).to_bytes(4, "big") + message + data[4 + size :]


def _seeds() -> list[bytes]:
    return [
        *samples.golden("otlp.jsonl", "otlp_plain.pb", "otlp_framed.pb", "otlp_framed.pb.zst", "zipkin_lines.jsonl"),
        *samples.golden("otlp.jsonl.gz", "otlp.jsonl.zst", "collector_zstd.pb", "zipkin_traces.json", "jaeger.json"),
        samples.jaeger(),
        *samples.zipkin(),
        samples.otlp_json(),
        b"[" + samples.otlp_json() + b"]",
        b'{"a":[{"b":"]}"}],"resourceSpans":[' + samples.otlp_json()[len('{"resourceSpans":[') :],
    ]


TRACE_FILES: Final = Target(
    name="trace_files",
    what="trace files: JSON lines and documents, protobuf plain and framed, gzip and Zstandard around them",
    run=_run,
    seeds=_seeds,
    mutate=_mutate,
)
