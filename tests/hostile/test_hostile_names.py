"""Names with escapes, HTML and line ends: what the commands, the debug exporter, logs, metrics and reports make of them."""

import asyncio
import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from otel_tracead_exporters import debug

from otel_tracead import line_writer
from otel_tracead.artifact import folder
from otel_tracead.cli import invoke
from otel_tracead.component import Kind, Settings
from otel_tracead.delivery import Consignment
from otel_tracead.generator import Fault
from otel_tracead.processors.tracead.model import ModelFolders
from otel_tracead.processors.tracead.processor import TraceadProcessor
from otel_tracead.receivers.intake import Intake
from otel_tracead.service.logs import make_logger
from otel_tracead.service.metrics import exposition
from otel_tracead.service.telemetry_config import LogsConfig
from otel_tracead.testing import RecordingConsumer
from otel_tracead.traces.offline import gather
from otel_tracead.wire.otlp import Envelopes, decode_request
from tests.hostile.hostile_traffic import EVIL, bodies, is_shown_safely, written
from tests.processors.tracead.tracead_stage import Stage, until
from tests.tiny_model import contents_of, learned, manifest_of

FAULT = Fault(kind="slow_service", service="currency", start_s=15, duration_s=15, severity=20)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that learned from hostile traffic."""
    envelopes = Envelopes()
    found = learned(list(gather(decode_request(body, envelopes) for body in bodies(duration_s=20.0))))
    place = tmp_path_factory.mktemp("model") / "evil"
    folder.save(place, manifest_of(found), contents_of(found))
    return place


@pytest.fixture(scope="module")
def traffic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("traffic") / "evil.jsonl", 3, FAULT)


def ran(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[str, str]:
    invoke([*map(str, arguments)])
    output = capsys.readouterr()
    assert is_shown_safely(output.err), output.err
    return output.out, output.err


def test_rank(model: Path, traffic: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("rank", "--model", model, "--input", traffic, "--since", "-15s")
    out, err = ran(capsys, *asked)
    assert "script" in out, err
    assert is_shown_safely(out)
    out, _ = ran(capsys, *asked, "--format", "json")
    assert is_shown_safely(out)
    assert any(EVIL in one["service"] for one in json.loads(out)["services"])


def test_score(model: Path, traffic: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, err = ran(capsys, "score", "--model", model, "--input", traffic, "--output", tmp_path / "out.jsonl")
    assert out == ""
    assert "traces" in err


@pytest.mark.parametrize("form", ["dot", "mermaid", "svg", "json"])
def test_paths(model: Path, form: str, capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = ran(capsys, "paths", "--model", model, "--format", form)
    assert "script" in out
    assert is_shown_safely(out)
    if form == "svg":
        assert not [one for one in ET.fromstring(out).iter() if one.tag.endswith("script")]
    if form == "json":
        assert EVIL[:8] in json.loads(out)["operations"][0]["root"]
    if form in ("svg", "mermaid"):
        assert "<script" not in out


def test_errors(model: Path, traffic: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, err = ran(capsys, "paths", "--model", model, "--operation", f"no{EVIL}")
    assert "no root operation" in err
    _, err = ran(capsys, "rank", "--model", model, "--input", tmp_path / f"none{EVIL[:3]}.jsonl")
    assert "Error" in err
    broken = tmp_path / "broken\x1b[31m\n.jsonl"
    broken.write_text('{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"\\u001b[31m"}]}]}]}')
    _, err = ran(capsys, "score", "--model", model, "--input", broken, "--output", tmp_path / "o.jsonl")
    assert "hexadecimal" in err
    _, err = ran(
        capsys, "score", "--model", tmp_path / "\x1b[31m", "--input", traffic, "--output", tmp_path / "o.jsonl"
    )
    assert "Error" in err


@pytest.mark.parametrize("verbosity", ["normal", "detailed"])
@pytest.mark.parametrize("to", ["stdout", "log"])
async def test_the_debug_exporter(verbosity: str, to: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    config: dict[str, Any] = {"verbosity": verbosity, "use_internal_logger": to == "log"}
    logger = make_logger(LogsConfig(output_paths=("stdout",)), tmp_path)
    settings = Settings(id="debug", kind=Kind.EXPORTER, logger=logger)
    exporter: Any = debug.FACTORY.build(debug.DebugConfig.model_validate(config), settings, None)
    await exporter.start()
    await exporter.consume(Consignment(decode_request(bodies(duration_s=1.0)[0], Envelopes()), ()))
    await asyncio.sleep(0)
    await exporter.shutdown()
    out = capsys.readouterr().out
    assert "script" in out
    assert is_shown_safely(out.replace("\t", " "))


@pytest.mark.parametrize("encoding", ["console", "json"])
def test_logs(encoding: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Names stand in messages, in fields, in names of fields and in errors; a line is a line whatever they are."""
    logger = make_logger(LogsConfig.model_validate({"encoding": encoding, "output_paths": ["stdout"]}), tmp_path)
    half = "half \ud800"
    logger.warning(EVIL, service=EVIL, more={EVIL: [EVIL, EVIL.encode(), half]}, **{EVIL: ValueError(EVIL)})
    logger.error("failed", exc_info=ValueError(EVIL + half))
    logger.bind(**{"bound\n": EVIL}).warning(half)
    assert line_writer.flush(5.0)
    out = capsys.readouterr().out
    assert len(out.splitlines()) == 3
    assert is_shown_safely(out.replace("\t", " "))
    if encoding == "json":
        assert [json.loads(line)["msg"] for line in out.splitlines()] == [EVIL, "failed", half]


async def test_no_name_is_a_label_of_a_metric(model: Path) -> None:
    """Else whoever sends spans decides how many series there are."""
    stage = Stage(model=str(model), execution_provider="cpu", wait_duration="20ms", unknown_labels=1.0)
    stage.processor = TraceadProcessor(stage.config, stage.settings, stage.backend, ModelFolders(model.parent))
    consumer = RecordingConsumer()
    receiver = Intake(stage.settings, consumer, "http")
    async with stage:
        lines = []
        for number in range(1, 6):
            request = bodies(number, duration_s=1.0)[0].replace(b"frontend", b"f%07d" % number)
            await receiver.take(request, lambda body: decode_request(body, Envelopes()))
            await stage.send(*consumer.spans)
            consumer.batches.clear()
            await until(lambda sent=number: len(stage.backend.got) >= sent)
            text = exposition(stage.settings.telemetry).decode()
            assert "script" not in text
            lines.append(text.count("\n"))
        assert len(set(lines)) == 1
