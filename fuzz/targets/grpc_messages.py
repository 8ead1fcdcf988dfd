"""gRPC's messages and statuses, and what backends say over HTTP."""

from typing import Final

from hpack import Decoder

from fuzz import mutation
from fuzz.target import Finding, Target
from fuzz.targets.oracles import holds
from otel_tracead.http2 import Status, header_block, pack, unpack
from otel_tracead.wire.rpc_status import RpcStatus

_MAX_RETRY: Final = 366 * 86_400


def _run(data: bytes) -> None:
    unpacked = unpack(data)
    if unpacked is not None:
        message, compressed = unpacked
        again = pack(message, compressed=compressed)
        holds(again[1:], data[1 : len(again)], "a message packed again")
        holds(unpack(again), unpacked, "a message unpacked again")
    elif len(data) >= 5 and int.from_bytes(data[1:5], "big") <= len(data) - 5:
        raise Finding("a whole message was not found")
    status = RpcStatus.decode(data)
    if status is not None:
        if status.retry_after is not None and not 0 <= status.retry_after <= _MAX_RETRY:
            raise Finding(f"to be tried again after {status.retry_after} s")
        RpcStatus.decode(status.encode())
        status.encode_json()
    _trailers(data)


def _trailers(data: bytes) -> None:
    parts = data.split(b"\n", 2)
    names = (b"grpc-status", b"grpc-message", b"grpc-status-details-bin")
    read = Status.read(zip(names, parts, strict=False))
    fields = [(bytes(name), bytes(value)) for name, value in Decoder().decode(read.trailers_only(), raw=True)]
    holds(Status.read(fields).code, read.code, "a status read again")
    for _, value in fields:
        if any(byte < 0x20 or byte > 0x7E for byte in value):
            raise Finding(f"{value!r} as a header")
    block = header_block([(b"a", part) for part in parts])
    holds([bytes(value) for _, value in Decoder().decode(block, raw=True)], parts, "headers read by hpack")


GRPC_MESSAGES: Final = Target(
    name="grpc_messages",
    what="gRPC's message prefixes, statuses in trailers, google.rpc.Status; against hpack, and there and back",
    run=_run,
    seeds=lambda: [
        pack(b"abc"),
        b"14\nfull%21 %C3%A9\nCA4SBGZ1bGw",
        RpcStatus(14, "full", 2.5).encode(),
        RpcStatus(3, "bad").encode(),
    ],
    mutate=mutation.protobuf,
    instrumented=("otel_tracead.http2", "otel_tracead.wire.rpc_status"),
)
