"""`python -m benchmarks.endurance.sink`: the backend: takes OTLP over gRPC and notes of every span that it came, and how it was judged."""

import asyncio
import time
from pathlib import Path
from typing import Final
from zlib import crc32

import click
import grpc
import numpy as np

from benchmarks.endurance.ledger import FOREIGN, LATE, MARKED, PLAIN, REQUESTS, SPANS, Ledger
from benchmarks.endurance.numbered import read
from otel_tracead.wire._shallow import Request

_OWN: Final = b"tracead."
_HEAD: Final = 28  # trace id and span id, with their tags


class Sink:
    """Notes what comes."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def take(self, body: bytes, now: float) -> None:
        """Note the spans of a request that came at *now* (monotonic seconds)."""
        spans = [
            span
            for resource in Request.FromString(body).resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]
        ledger = self._ledger
        ledger.totals[SPANS] += len(spans)
        ledger.totals[REQUESTS] += 1
        ledger.last[0] = now
        numbers, traces, ours = read(b"".join([span[:_HEAD] for span in spans if len(span) >= _HEAD]))
        ours &= (numbers >= 0) & (numbers < len(ledger.copies)) & (traces >= 0) & (traces < len(ledger.verdicts))
        if len(numbers) < len(spans) or not ours.all():
            ledger.totals[FOREIGN] += len(spans) - int(ours.sum())
            spans = [span for span in spans if len(span) >= _HEAD]
            spans = [span for span, own in zip(spans, ours.tolist(), strict=True) if own]
            numbers, traces = numbers[ours], traces[ours]
        seen = np.full(len(spans), PLAIN, dtype=np.uint8)
        for index, span in enumerate(spans):
            if _OWN in span:
                seen[index] = self._judged(span, int(traces[index]), now)
        np.add.at(ledger.copies, numbers, 1)
        ledger.again[traces[ledger.copies[numbers] > 1]] = now
        np.bitwise_or.at(ledger.seen, numbers, seen)

    def _judged(self, span: bytes, trace: int, now: float) -> int:
        if b"tracead.late" in span:
            return LATE
        if b"tracead.trace.anomalous" in span or b"tracead.unscored" in span:
            ledger = self._ledger
            said = crc32(span[span.index(_OWN) :], crc32(span[20:_HEAD]))
            if ledger.verdicts[trace] == 0:
                ledger.verdict[trace] = said
                ledger.judged[trace] = now
            elif ledger.verdict[trace] != said:
                ledger.differing[trace] = min(255, int(ledger.differing[trace]) + 1)
            ledger.verdicts[trace] = min(255, int(ledger.verdicts[trace]) + 1)
        return MARKED if b"tracead.anomaly.detected" in span else PLAIN


async def serve(port: int, ledger: Ledger) -> None:
    """Serve until the process is ended."""
    sink = Sink(ledger)

    async def export(body: bytes, _context: object) -> bytes:
        sink.take(body, time.monotonic())
        return b""

    server = grpc.aio.server(options=[("grpc.max_receive_message_length", -1)])
    handler = grpc.unary_unary_rpc_method_handler(export)
    service = "opentelemetry.proto.collector.trace.v1.TraceService"
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, {"Export": handler})])
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


@click.command()
@click.option("--port", type=int, required=True)
@click.option("--ledger", type=click.Path(path_type=Path, exists=True), required=True)
def main(port: int, ledger: Path) -> None:
    """Serve on 127.0.0.1:PORT and write to LEDGER."""
    asyncio.run(serve(port, Ledger.open(ledger)))


if __name__ == "__main__":
    main()
