"""`python -m benchmarks.endurance.sender`: sends numbered traffic at a steady rate, again and again until it is accepted.

Open loop: a request is due at its time whether or not the ones before were answered, until `--in-flight` wait. It notes which requests
were acknowledged. Lines on standard input steer it: `giant` (the next round has a giant trace), `stop`; its end means stop, too.
"""

import asyncio
import json
import math
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Any, Final

import aiohttp
import click
import grpc

from benchmarks.endurance.ledger import Ledger
from benchmarks.endurance.numbered import Round, Way, every
from tools.peers.backend import EXPORT

_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 0.5
_TIMEOUT: Final = 60.0
_RETRYABLE_HTTP: Final = {429, 502, 503, 504}
_FOR_GOOD: Final = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.PERMISSION_DENIED,
}
_CHANNEL: Final = [
    ("grpc.max_send_message_length", -1),
    ("grpc.enable_retries", 0),
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 200),
]


class Answer(Enum):
    """What became of an attempt."""

    TAKEN = auto()
    REFUSED = auto()
    UNREACHED = auto()
    UNANSWERED = auto()


@dataclass(slots=True)
class Sent:
    """What a sender did.

    Attributes:
        spans: accepted.
        requests: accepted.
        refused: attempts that were answered with the request to come back.
        unanswered: attempts that may have arrived, and were not answered.
        unreached: attempts that found nobody.
        given_up: requests that were not accepted when it ended.
        seconds: how long it was sending.
    """

    spans: int = 0
    requests: int = 0
    refused: int = 0
    unanswered: int = 0
    unreached: int = 0
    given_up: int = 0
    seconds: float = 0.0


Offer = Callable[[bytes], Awaitable[Answer]]


class Sender:
    """Sends.

    Args:
        traffic: a round.
        ledger: where it is noted.
        targets: host:port for each way.
    """

    def __init__(self, traffic: Round, ledger: Ledger, targets: dict[Way, str]) -> None:
        self._traffic = traffic
        self._ledger = ledger
        self._targets = targets
        self._offers: dict[Way, Offer] = {}
        self._stopping = threading.Event()
        self._giant = threading.Event()
        self._failure: Exception | None = None
        self.sent = Sent()

    def steer(self) -> None:
        """Do what standard input says."""
        for line in sys.stdin:
            match line.strip():
                case "stop":
                    break
                case "giant":
                    self._giant.set()
        self._stopping.set()

    async def run(self, rate: float, seconds: float, in_flight: int, patience: float) -> None:
        """Send *rate* spans a second for *seconds*, then try for *patience* seconds to get rid of what is left.

        Raises:
            AioRpcError: a request was refused for good.
            RuntimeError: likewise, over HTTP.
        """
        slots = asyncio.Semaphore(in_flight)
        under_way: set[asyncio.Task[None]] = set()
        async with AsyncExitStack() as open_:
            await self._connect(open_, in_flight)
            begun, start_unix_nano, given = time.perf_counter(), time.time_ns(), 0
            giant = False
            for turn, request in every(self._ledger.size.shape):
                if (given / rate if rate < math.inf else time.perf_counter() - begun) >= seconds:
                    break
                if self._stopping.is_set() or turn >= self._ledger.size.rounds:
                    break
                if request == 0:
                    giant = self._giant.is_set()
                    self._giant.clear()
                    self._ledger.giant[turn] = giant
                if (ahead := begun + given / rate - time.perf_counter()) > 0:
                    await asyncio.sleep(ahead)
                await slots.acquire()
                body = self._traffic.body(request, turn, start_unix_nano, giant=giant)
                task = asyncio.create_task(self._one(turn, request, body))
                under_way.add(task)
                task.add_done_callback(under_way.discard)
                task.add_done_callback(lambda _task: slots.release())
                part = self._traffic.spans_of(request)
                given += part.stop - part.start
            if under_way:
                _, left = await asyncio.wait(under_way, timeout=patience)
                self.sent.given_up = len(left)
                for task in left:
                    task.cancel()
                await asyncio.gather(*left, return_exceptions=True)
            self.sent.seconds = time.perf_counter() - begun
        if self._failure:
            raise self._failure

    async def _one(self, turn: int, request: int, body: bytes) -> None:
        ledger, place = self._ledger, turn * self._ledger.size.shape.requests + request
        offer = self._offers[Way(int(self._traffic.ways[request]))]
        ledger.sent[place] = time.monotonic()
        pause = _FIRST_PAUSE
        while (answer := await self._attempt(offer, body)) is not Answer.TAKEN:
            if self._failure:
                return
            if answer is Answer.REFUSED:
                self.sent.refused += 1
                ledger.refused[place] = min(255, int(ledger.refused[place]) + 1)
            elif answer is Answer.UNANSWERED:
                self.sent.unanswered += 1
                ledger.unanswered[place] = min(255, int(ledger.unanswered[place]) + 1)
            else:
                self.sent.unreached += 1
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
        ledger.answered[place] = time.monotonic()
        part = self._traffic.spans_of(request)
        self.sent.spans += part.stop - part.start
        self.sent.requests += 1

    async def _attempt(self, offer: Offer, body: bytes) -> Answer:
        try:
            return await offer(body)
        except Exception as error:  # noqa: BLE001 (refused for good, or a fault of ours: it ends the run, and is raised at its end)
            self._failure = self._failure or error
            self._stopping.set()
            return Answer.REFUSED

    async def _connect(self, open_: AsyncExitStack, in_flight: int) -> None:
        channel = await open_.enter_async_context(grpc.aio.insecure_channel(self._targets[Way.GRPC], options=_CHANNEL))
        export = channel.unary_unary(EXPORT, request_serializer=None, response_deserializer=None)

        async def over_grpc(body: bytes) -> Answer:
            try:
                await export(body, timeout=_TIMEOUT)
            except grpc.aio.AioRpcError as error:
                return _grpc_answer(error)
            return Answer.TAKEN

        self._offers[Way.GRPC] = over_grpc
        for way, path, kind in (
            (Way.HTTP, "/v1/traces", "application/x-protobuf"),
            (Way.ZIPKIN, "/api/v2/spans", "application/json"),
        ):
            session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=in_flight, keepalive_timeout=60),
                headers={"Content-Type": kind},
                timeout=aiohttp.ClientTimeout(total=_TIMEOUT),
            )
            await open_.enter_async_context(session)
            self._offers[way] = _over_http(session, f"http://{self._targets[way]}{path}")


def _over_http(session: aiohttp.ClientSession, url: str) -> Offer:
    async def offer(body: bytes) -> Answer:
        try:
            async with session.post(url, data=body) as answer:
                if answer.status in _RETRYABLE_HTTP:
                    return Answer.REFUSED
                if not answer.ok:
                    raise RuntimeError(f"{url} answered {answer.status}: {await answer.text()}")
                return Answer.TAKEN
        except aiohttp.ClientConnectorError:
            return Answer.UNREACHED
        except (aiohttp.ClientError, OSError, TimeoutError):
            return Answer.UNANSWERED

    return offer


def _grpc_answer(error: grpc.aio.AioRpcError) -> Answer:
    """Tell a server's answer from a connection that was not there, or broke."""
    if error.code() in _FOR_GOOD:
        raise error
    # What our server answers comes with a retry hint; what grpcio makes up of a broken connection does not.
    trailers: Any = error.trailing_metadata()
    if trailers and "grpc-status-details-bin" in trailers:
        return Answer.REFUSED
    return Answer.UNREACHED if "failed to connect" in (error.details() or "") else Answer.UNANSWERED


@click.command()
@click.option("--traffic", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--ledger", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--grpc", "grpc_target", required=True)
@click.option("--http", "http_target", required=True)
@click.option("--zipkin", "zipkin_target", required=True)
@click.option("--rate", type=float, required=True, help="spans a second; inf for full speed")
@click.option("--seconds", type=float, default=math.inf)
@click.option("--in-flight", type=int, default=64)
@click.option("--patience", type=float, default=60.0, help="seconds, at the end")
def main(
    traffic: Path,
    ledger: Path,
    grpc_target: str,
    http_target: str,
    zipkin_target: str,
    rate: float,
    seconds: float,
    in_flight: int,
    patience: float,
) -> None:
    """Send, then print a `Sent` as JSON."""
    targets = {Way.GRPC: grpc_target, Way.HTTP: http_target, Way.ZIPKIN: zipkin_target}
    sender = Sender(Round.load(traffic), Ledger.open(ledger), targets)
    threading.Thread(target=sender.steer, daemon=True).start()
    asyncio.run(sender.run(rate, seconds, in_flight, patience))
    json.dump(asdict(sender.sent), sys.stdout)


if __name__ == "__main__":
    main()
