import socket

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from service_fakes import MINIMAL, House

from otel_tracead import metrics
from otel_tracead.errors import StartError
from otel_tracead.service import running
from otel_tracead.service.metrics import exposition
from otel_tracead.service.uris import merge
from otel_tracead.telemetry import Telemetry


def samples(text: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Read *text*; the parser gives every counter a `_total` of its own making."""
    return {
        (sample.name.removesuffix("_total"), tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def test_every_metric_of_the_catalogue_is_written_under_its_own_name() -> None:
    telemetry = Telemetry()
    for metric in metrics.CATALOGUE:
        labels = ["x"] * len(metric.labels)
        if metric.instrument == "counter":
            telemetry.counter(metric, *labels).add(2)
        elif metric.instrument == "gauge":
            telemetry.observe(metric, lambda: 2.5, *labels)
        else:
            telemetry.histogram(metric, *labels).observe(3)
    text = exposition(telemetry)
    read = samples(text)
    for metric in metrics.CATALOGUE:
        labels = tuple(sorted((name, "x") for name in metric.labels))
        if metric.instrument == "histogram":
            assert read[f"{metric.name}_count", labels] == 1
            assert read[f"{metric.name}_sum", labels] == 3
            assert read[f"{metric.name}_bucket", tuple(sorted((*labels, ("le", "+Inf"))))] == 1
        else:
            assert read[metric.name, labels] in {2, 2.5}
        assert f"{metric.name}_total" not in text.decode()
        assert f"# TYPE {metric.name} {metric.instrument}\n".encode() in text


def test_buckets_are_cumulative() -> None:
    telemetry = Telemetry()
    histogram = telemetry.histogram(metrics.BATCH_SEND_SIZE, "batch")
    for value in (1, 1.5, 3, 1e9):
        histogram.observe(value)
    read = samples(exposition(telemetry))
    counts = [
        read["otelcol_processor_batch_batch_send_size_bucket", (("le", le), ("processor", "batch"))]
        for le in ("1.0", "2.0", "5.0", "10000.0", "+Inf")
    ]
    assert counts == [1, 2, 3, 3, 4]


@given(st.text())
def test_no_label_value_breaks_the_text(value: str) -> None:
    telemetry = Telemetry()
    telemetry.counter(metrics.EXPORTER_SENT, value).add(3)
    telemetry.counter(metrics.EXPORTER_SENT, "plain").add(4)
    lines = exposition(telemetry).split(b"\n")
    assert len(lines) == 5
    assert lines[3] == b'otelcol_exporter_sent_spans{exporter="plain"} 4.0' or value == "plain"


def test_a_quoted_label_is_read_back() -> None:
    telemetry = Telemetry()
    hostile = 'a"} 1\nfake{x="\\'
    telemetry.counter(metrics.EXPORTER_SENT, hostile).add(3)
    assert samples(exposition(telemetry)) == {("otelcol_exporter_sent_spans", (("exporter", hostile),)): 3}


def test_strange_values_are_written() -> None:
    telemetry = Telemetry()
    for name, value in (("a", float("inf")), ("b", float("-inf")), ("c", float("nan")), ("d", 1e300)):
        telemetry.observe(metrics.SPANS_OPEN, lambda value=value: value, name)
    assert len(samples(exposition(telemetry))) == 4


def test_observed_values_of_the_same_name_add_up_until_they_are_forgotten() -> None:
    telemetry = Telemetry()
    telemetry.observe(metrics.SPANS_OPEN, lambda: 2, "tracead")
    telemetry.observe(metrics.SPANS_OPEN, lambda: 3, "tracead")
    telemetry.counter(metrics.EXPORTER_SENT, "x").add(1)
    assert telemetry.value(metrics.SPANS_OPEN, "tracead") == 5
    telemetry.forget_observed()
    assert telemetry.value(metrics.SPANS_OPEN, "tracead") == 0
    assert telemetry.value(metrics.EXPORTER_SENT, "x") == 1


def listening(port: int) -> dict[str, object]:
    reader = {"pull": {"exporter": {"prometheus": {"host": "127.0.0.1", "port": port}}}}
    return merge(MINIMAL, {"service": {"telemetry": {"metrics": {"level": "normal", "readers": [reader]}}}})


async def test_the_endpoint_gives_text_that_prometheus_reads() -> None:
    async with running(listening(0), registry=House().registry) as service:
        service.telemetry.counter(metrics.EXPORTER_SENT, "file").add(7)
        url = f"http://127.0.0.1:{service.metrics.ports[0]}"
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{url}/metrics") as response:
                assert response.status == 200
                assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
                read = samples(await response.read())
            async with session.get(f"{url}/../etc/passwd") as response:
                assert response.status == 404
    assert read["otelcol_exporter_sent_spans", (("exporter", "file"),)] == 7
    assert read["otelcol_process_memory_rss", ()] > 1e6
    assert read["otelcol_process_cpu_seconds", ()] > 0
    assert read["otelcol_process_uptime", ()] >= 0


async def test_a_port_in_use_is_clear() -> None:
    house = House()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StartError, match=rf'"service::telemetry::metrics": 127.0.0.1:{port}: .*in use'):
            async with running(listening(port), registry=house.registry):
                pass
    assert house.log == []
