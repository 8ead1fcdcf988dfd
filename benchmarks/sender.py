"""`python -m benchmarks.sender`: sends packed traffic over gRPC at a steady rate; prints what it did as JSON.

Open loop: a request is due at its time whether or not the ones before were answered, until *in_flight* wait for an
answer. A refused request (UNAVAILABLE, RESOURCE_EXHAUSTED) is counted and sent again.
"""

import asyncio
import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import grpc

from benchmarks.traffic import Traffic

_METHOD = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
_RETRYABLE = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED}


@dataclass(slots=True)
class Sent:
    """What a sender did.

    Attributes:
        spans: accepted by the other side.
        requests: accepted by the other side.
        seconds: from the first request to the last answer.
        refused: requests that had to be sent again.
        p50_ms: median time to an answer.
        p99_ms: 99th percentile.
    """

    spans: int = 0
    requests: int = 0
    seconds: float = 0.0
    refused: int = 0
    p50_ms: float = 0.0
    p99_ms: float = 0.0


async def send(traffic: Traffic, target: str, rate: float, seconds: float, first_round: int, in_flight: int) -> Sent:
    """Send *rate* spans a second for *seconds* to *target* (host:port)."""
    sent = Sent()
    answered: list[float] = []
    slots = asyncio.Semaphore(in_flight)
    async with grpc.aio.insecure_channel(target, options=[("grpc.max_send_message_length", -1)]) as channel:
        export = channel.unary_unary(_METHOD, request_serializer=None, response_deserializer=None)

        async def one(body: bytes, spans: int) -> None:
            begun = time.perf_counter()
            try:
                while True:
                    try:
                        await export(body, timeout=60)
                    except grpc.aio.AioRpcError as error:
                        if error.code() not in _RETRYABLE:
                            raise
                        sent.refused += 1
                        await asyncio.sleep(0.05)
                    else:
                        break
            finally:
                slots.release()
            answered.append(time.perf_counter() - begun)
            sent.spans += spans
            sent.requests += 1

        await channel.channel_ready()
        begun = time.perf_counter()
        given = 0
        async with asyncio.TaskGroup() as requests:
            for body, spans in traffic.rounds(first_round):
                # From the count, not by adding up: a sum of floats ends a request early or late by the time of day.
                if given / rate >= seconds:
                    break
                await asyncio.sleep(max(0.0, begun + given / rate - time.perf_counter()))
                await slots.acquire()
                requests.create_task(one(body, spans))
                given += spans
        sent.seconds = time.perf_counter() - begun
    answered.sort()
    sent.p50_ms = 1000 * answered[len(answered) // 2]
    sent.p99_ms = 1000 * answered[len(answered) * 99 // 100]
    return sent


@click.command()
@click.option("--traffic", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--target", required=True)
@click.option("--rate", type=float, required=True)
@click.option("--seconds", type=float, required=True)
@click.option("--first-round", type=int, default=0)
@click.option("--in-flight", type=int, default=64)
def main(traffic: Path, target: str, rate: float, seconds: float, first_round: int, in_flight: int) -> None:
    """Send, then print a `Sent` as JSON."""
    sent = asyncio.run(send(Traffic.load(traffic), target, rate, seconds, first_round, in_flight))
    json.dump(asdict(sent), sys.stdout)


if __name__ == "__main__":
    main()
