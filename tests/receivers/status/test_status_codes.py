"""docs/status-codes.md, row by row, against our receivers; tests/peers has the neighbours' columns."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
import pytest

from otel_tracead.component import Kind, Settings
from otel_tracead.errors import Backpressure, InvalidRequest, PermanentError, RetryableError, TooLarge
from otel_tracead.metrics import RECEIVER_REQUESTS
from otel_tracead.receivers import otlp, zipkin
from otel_tracead.service import running
from otel_tracead.testing import RecordingConsumer
from otel_tracead.wire.rpc_status import RpcStatus
from tests.receivers.status import bad_requests
from tests.receivers.status.bad_requests import LIMIT, PATHS, SECTIONS
from tests.receivers.status.page import table
from tests.receivers.status.raw import GRPC_PATH, Answer, send

OUTCOMES = ("success", "refused", "invalid", "unauthenticated", "failure")
GOOD = {
    "OTLP over gRPC": bad_requests.otlp_grpc()["spans"],
    "OTLP over HTTP": bad_requests.otlp_http()["spans, protobuf"],
    "Zipkin": bad_requests.zipkin()["spans"],
}


class Receivers:
    """Both receivers before a consumer that does as it is told."""

    def __init__(self) -> None:
        self.consumer = RecordingConsumer()
        self.settings = Settings(id="in", kind=Kind.RECEIVER)
        grpc_ = {"endpoint": "127.0.0.1:0", "max_recv_msg_size_mib": LIMIT >> 20}
        http = {"endpoint": "127.0.0.1:0", "max_request_body_size": LIMIT}
        written = {"protocols": {"grpc": grpc_, "http": http}}
        self.otlp: Any = otlp.FACTORY.build(
            otlp.OtlpReceiverConfig.model_validate(written), self.settings, self.consumer
        )
        self.zipkin: Any = zipkin.FACTORY.build(
            zipkin.ZipkinReceiverConfig.model_validate(http), self.settings, self.consumer
        )

    def port(self, section: str) -> int:
        ports = {**self.otlp.ports, "zipkin": self.zipkin.ports["http"]}
        return int(ports[{"OTLP over gRPC": "grpc", "OTLP over HTTP": "http", "Zipkin": "zipkin"}[section]])

    async def ask(self, section: str, request: Any) -> tuple[Answer, str]:
        """Send, and say what came back and as what it was counted."""
        before = self._counts()
        answer = await asyncio.to_thread(send, request, self.port(section), PATHS[section])
        await asyncio.sleep(0.01)  # what the sender sees first, the counter may see a moment later
        counted = [outcome for outcome, count in self._counts().items() if count != before[outcome]]
        assert len(counted) <= 1
        return answer, counted[0] if counted else "—"

    def _counts(self) -> dict[str, float]:
        value = self.settings.telemetry.value
        return {
            outcome: sum(value(RECEIVER_REQUESTS, "in", transport, outcome) for transport in ("grpc", "http"))
            for outcome in OUTCOMES
        }


@pytest.fixture
async def receivers() -> AsyncIterator[Receivers]:
    both = Receivers()
    await both.otlp.start()
    await both.zipkin.start()
    yield both
    await both.otlp.shutdown()
    await both.zipkin.shutdown()


@pytest.mark.parametrize("section", SECTIONS)
async def test_every_request_gets_what_the_page_says(receivers: Receivers, section: str) -> None:
    rows, requests = table(section), SECTIONS[section]()
    assert list(rows) == list(requests)
    wrong = {}
    for name, request in requests.items():
        answer, counted = await receivers.ask(section, request)
        if [answer.status, counted] != rows[name][:2]:
            wrong[name] = (answer, counted, rows[name][:2])
    assert wrong == {}
    answer, _ = await receivers.ask(section, GOOD[section])
    assert answer.status in {"OK", "200", "202"}  # and it still works


@pytest.mark.parametrize("section", SECTIONS)
async def test_a_difference_has_its_reason(section: str) -> None:
    for name, (here, _, *others, why) in table(section).items():
        assert bool(why) == bool({*others} - {here, "—"}), name


PIPELINE = {
    "is full: a sending queue, the memory limit, too many spans that wait": Backpressure("full"),
    "cannot take it now": RetryableError("later"),
    "will never take this data": InvalidRequest("broken"),
    "will never take so much": TooLarge("too much"),
    "will never take it, for another reason": PermanentError("never"),
    "had an error that nobody expected": RuntimeError("oops"),
}


async def test_the_pipeline_is_heard(receivers: Receivers) -> None:
    rows = table("What the pipeline says")
    assert list(rows) == list(PIPELINE)
    for said, (*statuses, hint, counted) in rows.items():
        for section, status in zip(SECTIONS, statuses, strict=True):
            receivers.consumer.failures.append(PIPELINE[said])
            answer, as_what = await receivers.ask(section, GOOD[section])
            assert (answer.status, as_what) == (status, counted), (said, section)
            if section == "OTLP over HTTP":
                assert answer.retry_after == ("1" if hint.startswith("1 s") else "")
            assert "oops" not in answer.text


async def test_a_hint_is_passed_on(receivers: Receivers) -> None:
    for section in SECTIONS:
        receivers.consumer.failures.append(RetryableError("later", retry_after=7.0))
        answer, _ = await receivers.ask(section, GOOD[section])
        if section == "OTLP over gRPC":
            assert answer.retry_after  # grpc-status-details-bin; its content is tested with the receiver
        else:
            assert answer.retry_after == "7"


class Backend:
    """A gRPC backend that answers with a code."""

    def __init__(self) -> None:
        self.code: grpc.StatusCode | None = None
        self.retry_after: float | None = None

    async def export(self, _body: bytes, context: Any) -> bytes:
        if self.code is not None:
            status = RpcStatus(self.code.value[0], "because", self.retry_after)
            details = (("grpc-status-details-bin", status.encode()),) if self.retry_after else ()
            await context.abort(self.code, "because", details)
        return b""

    def say(self, row: str) -> None:
        name, _, later = row.partition(", ")
        self.code, self.retry_after = grpc.StatusCode[name], 7.0 if later else None


@asynccontextmanager
async def serving(backend: Backend) -> AsyncIterator[str]:
    server = grpc.aio.server()
    service, method = GRPC_PATH.strip("/").split("/")
    handler = grpc.unary_unary_rpc_method_handler(backend.export)
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, {method: handler})])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield f"127.0.0.1:{port}"
    await server.stop(None)


async def test_without_a_queue_the_backends_answer_is_the_senders() -> None:
    rows, backend = table("What the pipeline says", 1), Backend()
    off = {"sending_queue": {"enabled": False}, "retry_on_failure": {"enabled": False}}
    async with serving(backend) as target:
        tree = {
            "receivers": {
                "otlp": {"protocols": {"grpc": {"endpoint": "127.0.0.1:0"}, "http": {"endpoint": "127.0.0.1:0"}}},
                "zipkin": {"endpoint": "127.0.0.1:0"},
            },
            "exporters": {"otlp_grpc": {"endpoint": target, "tls": {"insecure": True}, **off}},
            "service": {"pipelines": {"traces": {"receivers": ["otlp", "zipkin"], "exporters": ["otlp_grpc"]}}},
        }
        async with running(tree) as service:
            both: Any = service.component(Kind.RECEIVER, "otlp"), service.component(Kind.RECEIVER, "zipkin")
            ports = [both[0].ports["grpc"], both[0].ports["http"], both[1].ports["http"]]
            assert [await answered(port, section) for port, section in zip(ports, SECTIONS, strict=True)] == [
                "OK", "200", "202",
            ]  # fmt: skip
            wrong = {}
            for row, cells in rows.items():
                backend.say(row)
                found = [await answered(port, section) for port, section in zip(ports, SECTIONS, strict=True)]
                if found != cells[:3]:
                    wrong[row] = found
            assert wrong == {}


async def answered(port: int, section: str) -> str:
    return (await asyncio.to_thread(send, GOOD[section], port, PATHS[section])).status
