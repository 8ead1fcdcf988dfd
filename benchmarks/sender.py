"""`python -m benchmarks.sender`: sends packed traffic at a steady rate or at full speed; prints what it did as JSON.

Open loop: a request is due at its time whether or not the ones before were answered, until *in_flight* wait for an
answer. At full speed every request is due at once. A refused request is counted and sent again, after a pause
that doubles each time, as clients do.
"""

import asyncio
import json
import math
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import click

from benchmarks.traffic import Protocol, Traffic

_RETRYABLE_HTTP: Final = {429, 503}
_FULL_COLLECTOR: Final = (
    500,
    '"Internal Server Error"',
)  # of its Zipkin receiver, whose queue is full; ours never says so
_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 2.0

Offer = Callable[[bytes], Awaitable[bool]]
"""Sends a request and says whether it was taken; raises where sending it again would not help."""


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


async def send(
    traffic: Traffic, target: str, rate: float, seconds: float, first_round: int, in_flight: int, most: float = math.inf
) -> Sent:
    """Send *rate* spans a second (infinity: full speed) to *target* (host:port) for *seconds*, but no more than *most* spans."""
    sent = Sent()
    answered: list[float] = []
    slots = asyncio.Semaphore(in_flight)
    async with _connected(traffic.protocol, target, in_flight) as offer:

        async def one(body: bytes, spans: int) -> None:
            begun = time.perf_counter()
            pause = _FIRST_PAUSE
            try:
                while not await offer(body):
                    sent.refused += 1
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, _LONGEST_PAUSE)
            finally:
                slots.release()
            answered.append(time.perf_counter() - begun)
            sent.spans += spans
            sent.requests += 1

        begun = time.perf_counter()
        given = 0
        async with asyncio.TaskGroup() as requests:
            for body, spans in traffic.rounds(first_round):
                # From the count, not by adding up: a sum of floats ends a request early or late by the time of day.
                if given >= most or (given / rate if rate < math.inf else time.perf_counter() - begun) >= seconds:
                    break
                if (ahead := begun + given / rate - time.perf_counter()) > 0:
                    await asyncio.sleep(ahead)
                await slots.acquire()
                requests.create_task(one(body, spans))
                given += spans
        sent.seconds = time.perf_counter() - begun
    if answered:
        answered.sort()
        sent.p50_ms = 1000 * answered[len(answered) // 2]
        sent.p99_ms = 1000 * answered[len(answered) * 99 // 100]
    return sent


@asynccontextmanager
async def _over_grpc(target: str, _in_flight: int) -> AsyncIterator[Offer]:
    """One connection, as an SDK or a Collector has."""
    import grpc  # each way imports its own: a sender starts for every interval

    from tools.peers.backend import EXPORT

    retryable = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED}
    async with grpc.aio.insecure_channel(target, options=[("grpc.max_send_message_length", -1)]) as channel:
        export = channel.unary_unary(EXPORT, request_serializer=None, response_deserializer=None)

        async def offer(body: bytes) -> bool:
            try:
                await export(body, timeout=60)
            except grpc.aio.AioRpcError as error:
                if error.code() not in retryable:
                    raise
                return False
            return True

        await channel.channel_ready()
        yield offer


@asynccontextmanager
async def _over_http(target: str, in_flight: int) -> AsyncIterator[Offer]:
    """A connection for each request under way, kept: as many tracers have."""
    import aiohttp

    url = f"http://{target}/api/v2/spans"
    headers = {"Content-Type": "application/json"}
    connector = aiohttp.TCPConnector(limit=in_flight, keepalive_timeout=60)
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:

        async def offer(body: bytes) -> bool:
            async with session.post(url, data=body) as answer:
                if answer.status in _RETRYABLE_HTTP:
                    return False
                if answer.ok:
                    return True
                text = (await answer.text()).strip()
                if (answer.status, text) == _FULL_COLLECTOR:
                    return False
                raise RuntimeError(f"{answer.status}: {text}")

        yield offer


def _connected(protocol: Protocol, target: str, in_flight: int) -> AbstractAsyncContextManager[Offer]:
    return (_over_grpc if protocol is Protocol.OTLP else _over_http)(target, in_flight)


@click.command()
@click.option("--traffic", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--target", required=True)
@click.option("--rate", type=float, required=True, help="spans a second; inf for full speed")
@click.option("--seconds", type=float, required=True)
@click.option("--first-round", type=int, default=0)
@click.option("--in-flight", type=int, default=64)
@click.option("--most", type=float, default=math.inf, help="spans")
def main(
    traffic: Path, target: str, rate: float, seconds: float, first_round: int, in_flight: int, most: float
) -> None:
    """Send, then print a `Sent` as JSON."""
    sent = asyncio.run(send(Traffic.load(traffic), target, rate, seconds, first_round, in_flight, most))
    json.dump(asdict(sent), sys.stdout)


if __name__ == "__main__":
    main()
