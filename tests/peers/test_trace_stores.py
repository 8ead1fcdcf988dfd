"""Traces read out of a real Zipkin and a real Jaeger: each once, and as they would stand in a downloaded file."""

import json
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from tiny_model import learned, write_artifact

from otel_tracead.cli import check, invoke
from otel_tracead.errors import InputError
from otel_tracead.generator import Fault, Scenario, requests, simulate
from otel_tracead.moment import parse_moment
from otel_tracead.trace_stores.address import parse_address
from otel_tracead.trace_stores.store import TraceStore
from otel_tracead.traces.encoding import Encoder
from otel_tracead.traces.labels import LabelTemplate
from otel_tracead.traces.offline import gather
from otel_tracead.traces.reading import Source, TraceFile, read_traces
from otel_tracead.traces.trace import Trace
from otel_tracead.wire.files import read_file
from otel_tracead.wire.otlp import Envelopes, decode_request
from tests.peers.independent import parse, post, send_grpc, spans_of, to_zipkin
from tools.peers.jaeger import Jaeger
from tools.peers.zipkin import Zipkin

START = 1_612_345_700  # 2021-02-03T09:48:20Z, where no other test has spans
RANGE = "start=2021-02-03T09:48:00Z&end=2021-02-03T09:55:00Z"
AT_ONCE = 40
LIMIT = 25
FAULT = Fault(kind="slow_service", service="currency", start_s=10, duration_s=6, severity=20)


def _at_once() -> bytes:
    """Traces of two services that all begin in the same microsecond."""
    request = ExportTraceServiceRequest()
    for service in ("crowd-a", "crowd-b"):
        resource_spans = request.resource_spans.add()
        resource_spans.resource.attributes.add(key="service.name").value.string_value = service
        scope_spans = resource_spans.scope_spans.add()
        for number in range(AT_ONCE):
            scope_spans.spans.add(
                # Zipkin's memory finds traces by the last eight bytes: no other test may have the same.
                trace_id=b"many in crowd" + number.to_bytes(3, "big"),
                span_id=service.encode() + b"\0",
                parent_span_id=b"" if service == "crowd-a" else b"crowd-a\0",
                name="at once",
                kind=2,
                start_time_unix_nano=(START + 5) * 10**9,
                end_time_unix_nano=(START + 5) * 10**9 + 7_000_000,
            )
    return request.SerializeToString()


@pytest.fixture(scope="module")
def traffic() -> list[bytes]:
    """Sixteen seconds of the shop, the last six with a fault, and a crowd."""
    run = simulate(Scenario(seed=5, start_unix_nano=START * 10**9, duration_s=16, traces_per_second=9, faults=(FAULT,)))
    return [*(body for _, body in requests(run)), _at_once()]


@pytest.fixture(autouse=True)
def few_anomalies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "_EACH", 3)


@pytest.fixture
def filled_zipkin(zipkin: Zipkin, traffic: list[bytes]) -> str:
    post(f"{zipkin.url}/api/v2/spans", [json.dumps(to_zipkin(parse(traffic))).encode()], "application/json", expect=202)
    return f"zipkin+{zipkin.url}"


@pytest.fixture
def filled_jaeger(jaeger: Jaeger, traffic: list[bytes]) -> str:
    send_grpc(jaeger.otlp_grpc, traffic, 5_000)
    return f"jaeger+{jaeger.url}"


def _read(address: str, query: str = f"{RANGE}&limit={LIMIT}") -> list[Trace]:
    return list(read_traces([TraceStore(parse_address(f"{address}?{query}", 0))]))


def _ids(traces: list[Trace]) -> list[str]:
    return sorted(trace.trace_id.hex() for trace in traces)


def _sent(traffic: list[bytes], *services: str) -> list[str]:
    """Ids of the traces that have a span of one of *services* (none: all)."""
    wanted = services or _services(traffic)
    return sorted(
        {
            span.trace_id.hex()
            for request in parse(traffic)
            for resource_spans in request.resource_spans
            for attribute in resource_spans.resource.attributes
            if attribute.key == "service.name" and attribute.value.string_value in wanted
            for scope_spans in resource_spans.scope_spans
            for span in scope_spans.spans
        }
    )


def _services(traffic: list[bytes]) -> set[str]:
    return {
        attribute.value.string_value
        for request in parse(traffic)
        for resource_spans in request.resource_spans
        for attribute in resource_spans.resource.attributes
        if attribute.key == "service.name"
    }


def _sequences(traces: list[Trace]) -> list[tuple[Any, ...]]:
    """What a model would see of the traces, in words and in the order of their ids."""
    events = Encoder(LabelTemplate()).encode(sorted(traces, key=lambda trace: trace.trace_id))
    return [
        (one, events.labels[label], events.services[service], events.instances[instance], self_us, duration_us, start)
        for one, label, service, instance, self_us, duration_us, start in zip(
            *(column.tolist() for column in (events.trace, events.label, events.service, events.instance)),
            *(column.tolist() for column in (events.self_us, events.duration_us, events.start)),
            strict=True,
        )
    ]


def _download(url: str, path: Path) -> Source:
    with urllib.request.urlopen(url, timeout=60) as answer:
        path.write_bytes(answer.read())
    return TraceFile(path)


def _check_reading(
    address: str, traffic: list[bytes], downloaded: list[Source], spelling: Callable[[str], str] = str
) -> None:
    live = _read(address)
    envelopes = Envelopes()
    sent = list(gather(decode_request(body, envelopes) for body in traffic))
    assert {label for _, label, *_ in _sequences(live)} == {spelling(label) for _, label, *_ in _sequences(sent)}
    assert _ids(live) == _sent(traffic), "every trace, and each once"
    assert sum(len(trace.spans) for trace in live) == sum(1 for _ in spans_of(parse(traffic)))
    from_files = {trace.trace_id: trace for trace in read_traces(downloaded)}
    assert _sequences(live) == _sequences(list(from_files.values()))
    assert _ids(_read(address, f"service=crowd-b&service=crowd-a&limit=7&{RANGE}")) == _sent(traffic, "crowd-a")
    some = _read(address, f"serviceName=currency&serviceName=email&{RANGE}&limit={LIMIT}")
    assert _ids(some) == _sent(traffic, "currency", "email")
    with pytest.raises(InputError, match=r"no service 'curency'; there are: .*crowd-a"):
        _read(address, f"service=curency&{RANGE}")
    assert _read(address, "service=currency&start=2023-01-01T00:00:00Z&lookback=1h&end=2023-01-02T00:00:00Z") == []


def _check_commands(address: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every command that reads traces says of a store what it says of a file with the same traces."""
    url = f"{address}?{RANGE}&limit=100&service=frontend"
    # Learned of what the store holds of the time before the fault: Zipkin writes names in lower case.
    before = _read(address, "start=2021-02-03T09:48:20Z&end=2021-02-03T09:48:30Z&service=frontend")
    write_artifact(folder / "model", learned(before))
    model = folder / "model"

    def ran(*arguments: object, codes: tuple[int, ...] = (0,)) -> str:
        assert invoke([str(one) for one in arguments]) in codes, capsys.readouterr().err
        found = capsys.readouterr()
        assert "Traceback" not in found.err
        return found.out

    assert ran("score", "--model", model, "--input", url, "--output", folder / "live.jsonl") == ""
    live = [span for _, batch in read_file(folder / "live.jsonl") for _, span in batch]
    assert any(b"tracead.trace.anomalous" in span for span in live)
    checked = json.loads(ran("check", "--model", model, "--input", url, "--format", "json", codes=(0, 1)))
    assert checked["traces_read"] > 60
    # Nothing of a verdict is in what rank reads.
    since = ("--since", "2021-02-03T09:48:30Z", "--until", "2021-02-03T09:48:40Z")
    ranked = [
        ran("rank", "--model", model, "--input", place, *since, "--format", "json")
        for place in (url, folder / "live.jsonl")
    ]
    assert json.loads(ranked[0]) == json.loads(ranked[1])
    assert json.loads(ranked[0])["services"][0]["service"] == "currency"
    relative = json.loads(ran("rank", "--model", model, "--input", url, "--since", "-6s", "--format", "json"))
    assert parse_moment(relative["since"]).nanoseconds > (START + 9) * 10**9


def _zipkin_downloads(zipkin: Zipkin, folder: Path) -> list[Source]:
    query = urlencode({"endTs": (START + 60) * 1000, "lookback": 120_000, "limit": 100_000})
    return [_download(f"{zipkin.url}/api/v2/traces?{query}", folder / "zipkin.json")]


def test_zipkin_is_read_whole(zipkin: Zipkin, filled_zipkin: str, traffic: list[bytes], tmp_path: Path) -> None:
    _check_reading(filled_zipkin, traffic, _zipkin_downloads(zipkin, tmp_path), spelling=str.lower)
    tagged = _read(filled_zipkin, f"{RANGE}&limit=10&annotationQuery=rpc.system")
    assert 0 < len(tagged) < len(_sent(traffic))
    assert _ids(_read(f"{filled_zipkin}/zipkin", f"serviceName=crowd-a&endTs={(START + 60) * 1000}&lookback=2m")) == (
        _sent(traffic, "crowd-a")
    ), "an address copied from the browser"


def test_commands_take_zipkin(filled_zipkin: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _check_commands(filled_zipkin, tmp_path, capsys)


@pytest.mark.peers
def test_jaeger_is_read_whole(jaeger: Jaeger, filled_jaeger: str, traffic: list[bytes], tmp_path: Path) -> None:
    downloaded = [
        _download(
            f"{jaeger.url}/api/traces?"
            + urlencode({"service": name, "start": START * 10**6, "end": (START + 60) * 10**6, "limit": 100_000}),
            tmp_path / f"{name}.json",
        )
        for name in _services(traffic)
    ]
    _check_reading(filled_jaeger, traffic, downloaded)
    tags = urlencode({"tags": json.dumps({"rpc.system": "grpc"})})
    tagged = _read(filled_jaeger, f"{RANGE}&limit=10&{tags}")
    assert 0 < len(tagged) < len(_sent(traffic))
    page = f"search?service=crowd-a&start={START * 10**6}&end={(START + 60) * 10**6}&limit=20&lookback=1h&maxDuration&minDuration"
    assert _ids(_read(f"{filled_jaeger}/{page.partition('?')[0]}", page.partition("?")[2])) == _sent(traffic, "crowd-a")


@pytest.mark.peers
def test_commands_take_jaeger(filled_jaeger: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _check_commands(filled_jaeger, tmp_path, capsys)


@pytest.mark.peers
@pytest.mark.parametrize(("kind", "other"), [("zipkin", "jaeger"), ("jaeger", "zipkin")])
def test_the_other_backend_is_told_apart(kind: str, other: str, zipkin: Zipkin, jaeger: Jaeger) -> None:
    url = {"zipkin": zipkin.url, "jaeger": jaeger.url}[other]
    with pytest.raises(InputError, match=r"/api/.*(does it run, and is this the address|is it another backend\?)"):
        _read(f"{kind}+{url}")


@pytest.mark.train
def test_a_model_is_trained_of_what_zipkin_holds(
    zipkin: Zipkin, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    early = START - 10_000
    run = simulate(Scenario(seed=6, start_unix_nano=early * 10**9, duration_s=40))
    spans = to_zipkin(parse(body for _, body in requests(run)))
    post(f"{zipkin.url}/api/v2/spans", [json.dumps(spans).encode()], "application/json", expect=202)
    (tmp_path / "quick.yaml").write_text("training: {steps: 20, folds: 2, device: cpu}\nmodel: {label_units: 8}\n")
    url = f"zipkin+{zipkin.url}?start=2021-02-03T07:01:00Z&end=2021-02-03T07:05:00Z"
    arguments = ["--input", url, "--output", str(tmp_path / "model"), "--config", str(tmp_path / "quick.yaml")]
    assert invoke(["train", *arguments]) == 0, capsys.readouterr().err
    trained = json.loads((tmp_path / "model" / "manifest.json").read_text())["training"]
    assert trained["traces_read"] == len({span["traceId"] for span in spans})
