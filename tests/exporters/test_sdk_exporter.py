import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
import structlog
from otel_tracead_exporters.sdk import FACTORY, SdkConfig
from otel_tracead_exporters.sdk.sender import SdkSender
from pydantic import ValidationError

from otel_tracead.component import Kind, Settings
from otel_tracead.delivery import Consignment
from otel_tracead.errors import InvalidRequest
from otel_tracead.metrics import EXPORTER_FAILED, EXPORTER_REJECTED, EXPORTER_RETRIES, EXPORTER_SENT
from otel_tracead.receivers.otlp import FACTORY as OTLP
from otel_tracead.testing import RecordingConsumer
from otel_tracead.wire.batch import Envelope, SpanBatch
from tests.contract.exporter_contract import FAST, ExporterContract, Refusal, Running, batch, until
from tests.exporters.backends import HttpBackend
from tests.exporters.sdk_exporters import CALLS, SdkBackend, install
from tests.span_builders import encoded

GROUP = "opentelemetry_traces_exporter"
HERE = "tests.exporters.sdk_exporters"


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = {"backend": f"{HERE}:BackendExporter", "keeping": f"{HERE}:KeepingExporter", "broken": f"{HERE}:broken"}
    install(tmp_path / "site", monkeypatch, GROUP, "some-exporters", **entries)


class TestSdkExporter(ExporterContract):
    factory = FACTORY

    def make_backend(self) -> SdkBackend:
        return SdkBackend()

    def config(self, endpoint: str) -> dict[str, Any]:
        return {"exporter": "backend", "arguments": {"backend": endpoint}}

    async def test_waits_as_long_as_the_backend_asks(self, running: Running) -> None:
        """Nobody asks: the SDK's result has no hint. What stands in the configuration holds."""
        running.backend.refusals.append(Refusal("transient", retry_after=60))
        await running.put("a")
        await running.until_settled(1)

    async def test_a_permanent_error_drops_and_counts(self, running: Running) -> None:
        """The SDK does not say what is permanent: with nothing else taken, every failure may pass."""
        running.backend.refusals += [Refusal("permanent")] * 6
        await running.put("a", "b")
        await running.until_settled(1)
        assert running.names == ["a", "b"]
        assert running.value(EXPORTER_RETRIES) == 6

    @pytest.mark.parametrize("kind", ["data", "permanent"])
    async def test_one_poisonous_span_does_not_take_the_others_with_it(self, running: Running, kind: str) -> None:
        backend = running.backend

        async def take(names: list[str]) -> Refusal | None:
            return Refusal(kind) if "bad" in names else backend.received.append(names)

        backend.take = take
        names = [f"good{number}" for number in range(20)]
        await running.put(*names[:13], "bad", *names[13:])
        others = 0
        while len(running.settled) < others + 1:  # that other spans are taken is what tells
            await running.put(f"other{others}")
            others += 1
            await running.until_settled(others)
            await asyncio.sleep(0.02)
        assert [name for name in running.names if name.startswith("good")] == sorted(names)
        assert running.value(EXPORTER_REJECTED) == 1
        assert 21 in running.settled


async def test_an_outage_is_no_evidence_against_any_span() -> None:
    backend = SdkBackend()
    await backend.start()
    running = await TestSdkExporter().run(backend)
    backend.refusals += [Refusal("permanent")] * 40
    for name in "abcdefgh":
        await running.put(name, name * 2)
    await running.until_settled(8)
    assert running.names == sorted([*"abcdefgh", *(name * 2 for name in "abcdefgh")])
    assert running.value(EXPORTER_REJECTED) == 0
    await running.exporter.shutdown()


async def test_what_hangs_is_waited_for_and_not_sent_twice() -> None:
    backend = SdkBackend()
    await backend.start()
    running = await TestSdkExporter().run(backend, timeout="50ms")
    backend.gate.clear()
    await running.put("a")
    await running.put("b")
    await until(lambda: running.value(EXPORTER_RETRIES) >= 4)
    backend.gate.set()
    await running.until_settled(2)
    assert running.names == ["a", "b"]
    assert len(backend.times) == 2
    await running.exporter.shutdown()


async def test_one_call_a_resource_and_a_part_that_was_taken_is_not_sent_again() -> None:
    backend = SdkBackend()
    await backend.start()
    sender = SdkSender(
        SdkConfig(exporter="backend", arguments={"backend": backend.endpoint}), Settings(id="s", kind=Kind.EXPORTER)
    )
    await sender.start()
    shop, cart = Envelope(b"\x0a\x00", b"", {}), Envelope(b"", b"", {})
    two = SpanBatch(
        [(shop, [encoded(1, 1, name="a")]), (cart, [encoded(1, 2, name="b")]), (shop, [encoded(1, 3, name="c")])]
    )
    backend.refusals += [None, Refusal("transient")]
    with pytest.raises(Exception, match="FAILURE"):
        await sender.send(two)
    await sender.send(two)
    assert backend.received == [["a", "c"], ["b"]]
    await sender.shutdown()


async def test_spans_that_the_sdk_has_no_room_for_are_dropped_alone() -> None:
    backend = SdkBackend()
    await backend.start()
    running = await TestSdkExporter().run(backend)
    spans = [encoded(1, number, name=f"good{number}") for number in range(1, 9)]
    spans.insert(3, encoded(b"short", 9))
    await running.exporter.consume(Consignment(SpanBatch([(Envelope(b"", b"", {}), spans)])))
    await until(lambda: running.value(EXPORTER_FAILED) + running.value(EXPORTER_SENT) == 9)
    assert running.names == [f"good{number}" for number in range(1, 9)]
    assert running.value(EXPORTER_FAILED) == 1
    await running.exporter.shutdown()


async def test_arguments_calls_and_the_end() -> None:
    arguments = {
        "path": "here",
        "text": "x",
        "number": 1,
        "flag": True,
        "nothing": None,
        "list": ["a", 2],
        "map": {"k": "v"},
    }
    config = SdkConfig.model_validate({"exporter": "keeping", "arguments": arguments})
    sender = SdkSender(config, Settings(id="s", kind=Kind.EXPORTER))
    await sender.start()
    shop = Envelope(b"", b"", {})
    await sender.send(SpanBatch([(shop, [encoded(1, 1)])]))
    await sender.shutdown()
    await sender.shutdown()
    made, *calls = CALLS.pop("here")
    assert json.loads(made) == {key: value for key, value in arguments.items() if key != "path"}
    assert calls == ["export None 1", "flush", "shutdown"]


def test_every_string_prints_redacted() -> None:
    written = {
        "exporter": "keeping",
        "arguments": {"path": "p", "headers": {"key": "hunter2"}, "list": ["hunter2", 3], "n": 5},
    }
    config = SdkConfig.model_validate(written)
    assert "hunter2" not in repr(config)
    shown = config.model_dump(mode="json")["arguments"]
    assert shown == {"path": "[REDACTED]", "headers": {"key": "[REDACTED]"}, "list": ["[REDACTED]", 3], "n": 5}
    plain = config.model_dump(mode="json", context={"secrets": True})["arguments"]
    assert plain == written["arguments"]


async def test_logs_hold_no_argument() -> None:
    logs = structlog.testing.LogCapture()
    logger = structlog.wrap_logger(structlog.testing.ReturnLogger(), processors=[logs])
    config = SdkConfig.model_validate(
        {"exporter": "backend", "arguments": {"backend": "hunter2"}, "retry_on_failure": {"enabled": False}}
    )
    exporter = FACTORY.build(config, Settings(id="out/1", kind=Kind.EXPORTER, logger=logger), None)
    await exporter.start()
    await exporter.consume(Consignment(batch("a")))
    await until(lambda: bool(logs.entries))
    await exporter.shutdown()
    assert "ConnectionError" in str(logs.entries)
    assert "secret" not in str(logs.entries)
    with pytest.raises(ValueError, match="broken does not take its arguments: RuntimeError") as raised:
        await SdkSender(SdkConfig(exporter="broken"), Settings(id="s", kind=Kind.EXPORTER)).start()
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ({"exporter": "nowhere"}, "exporter: no exporter 'nowhere' of the OpenTelemetry SDK is installed (there are: "),
        ({"exporter": "keeping"}, "arguments: missing a required argument: 'path'; keeping takes path, more"),
        ({"exporter": "backend", "arguments": {"x": 1}}, "arguments: "),
        ({"exporter": "unloadable"}, "exporter: no_such_module:Exporter cannot be loaded: ModuleNotFoundError"),
        ({"exporter": "twice"}, "exporter: two exporters are called 'twice': a:B and c:D; uninstall one"),
        ({"exporter": "console"}, None),
        ({"exporter": "otlp_proto_http", "arguments": {"endpoint": "http://x", "headers": {"a": "b"}}}, None),
    ],
)
def test_what_is_wrong_is_found_before_the_start(
    written: dict, problem: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path / "one", monkeypatch, GROUP, "unloadable", unloadable="no_such_module:Exporter", twice="a:B")
    install(tmp_path / "two", monkeypatch, GROUP, "twice", twice="c:D")
    problems = FACTORY.check(SdkConfig.model_validate(written), Settings(id="s", kind=Kind.EXPORTER))
    assert [found.startswith(problem or "") for found in problems] == ([True] if problem else [])


@pytest.mark.parametrize(
    "written", [{}, {"exporter": ""}, {"exporter": "a", "arguments": {"a": {"b": {"c": 1}}}}, {"exporter": "a", "x": 1}]
)
def test_what_is_no_configuration_is_refused(written: dict) -> None:
    with pytest.raises(ValidationError):
        SdkConfig.model_validate(written)


async def test_a_batch_with_a_bad_id_is_refused_before_anything_is_sent() -> None:
    sender = SdkSender(SdkConfig(exporter="keeping", arguments={"path": "none"}), Settings(id="s", kind=Kind.EXPORTER))
    await sender.start()
    with pytest.raises(InvalidRequest):
        await sender.send(SpanBatch([(Envelope(b"", b"", {}), [encoded(1, 1), encoded(b"short", 2)])]))
    assert CALLS.pop("none") == ["{}"]
    await sender.shutdown()


async def test_the_sdks_own_otlp_exporter_brings_everything_to_our_receiver() -> None:
    consumer = RecordingConsumer()
    written = {"protocols": {"http": {"endpoint": "127.0.0.1:0"}}}
    receiver = OTLP.build(OTLP.config.model_validate(written), Settings(id="in", kind=Kind.RECEIVER), consumer)
    await receiver.start()
    port = receiver.ports["http"]
    arguments = {"endpoint": f"http://127.0.0.1:{port}/v1/traces", "timeout": 5}
    config = SdkConfig.model_validate({"exporter": "otlp_proto_http", "arguments": arguments, "retry_on_failure": FAST})
    settings = Settings(id="out/1", kind=Kind.EXPORTER)
    exporter = FACTORY.build(config, settings, None)
    await exporter.start()
    sent = batch("a", "b")
    await exporter.consume(Consignment(sent))
    await exporter.shutdown()
    await receiver.shutdown()
    assert [span[: span.index(b"a")] for span in consumer.spans[:1]]
    assert settings.telemetry.value(EXPORTER_SENT, "out/1") == 2
    assert len(consumer.spans) == 2


async def test_the_sdks_own_zipkin_exporter_gets_one_service_a_call() -> None:
    backend = HttpBackend()
    await backend.start()
    arguments = {"endpoint": f"{backend.endpoint}/api/v2/spans"}
    config = SdkConfig.model_validate({"exporter": "zipkin_json", "arguments": arguments, "retry_on_failure": FAST})
    exporter = FACTORY.build(config, Settings(id="out/1", kind=Kind.EXPORTER), None)
    await exporter.start()
    backend.refusals.append(Refusal("transient"))
    await exporter.consume(Consignment(batch("a", "b")))
    await until(lambda: bool(backend.received))
    await exporter.shutdown()
    await backend.stop()
    assert backend.received == [["a", "b"]]
