import json
import os
import resource
import socket
import subprocess
import sys
from pathlib import Path

import click
import pytest
import yaml

from otel_tracead import __version__, cli
from otel_tracead.cli import COMMANDS, components, invoke
from otel_tracead.component import Kind
from otel_tracead.errors import TraceadError
from otel_tracead.service import registry
from tests.source_tree import ROOT
from tools.peers import guarded

CONFIG = """\
receivers:
  otlp: {protocols: {http: {endpoint: "127.0.0.1:0"}}}
processors: {batch: }
exporters:
  file: {path: out.jsonl}
  otlp_http: {endpoint: "http://localhost:1", headers: {authorization: "${env:TOKEN:-hunter2}"}}
service:
  pipelines:
    traces: {receivers: [otlp], processors: [batch], exporters: [file]}
  telemetry:
    metrics: {level: none}
    logs: {encoding: json}
"""


@pytest.fixture
def config(tmp_path: Path) -> str:
    (tmp_path / "c.yaml").write_text(CONFIG)
    return str(tmp_path / "c.yaml")


def ran(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = invoke(list(arguments))
    output = capsys.readouterr()
    return code, output.out, output.err


def test_help_lists_the_commands_that_are_there(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = ran(capsys, "--help")
    assert (code, err) == (0, "")
    assert "print-config" in out
    for name in COMMANDS:
        is_there = (Path(cli.__file__).parent / f"{name.replace('-', '_')}.py").exists()
        assert (f"\n  {name} " in out) == is_there


def test_every_listed_command_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("run", "validate", "components", "print-config"):
        code, out, _ = ran(capsys, name, "--help")
        assert code == 0
        assert out.startswith(f"Usage: otel-tracead {name} ")


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert ran(capsys, "--version") == (0, f"otel-tracead version {__version__}\n", "")


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["run", "--nonsense"],
        ["validate"],
        ["print-config", "--mode", "x"],
        ["--nonsense"],
        ["evaluate-me"],
        ["config_options"],
    ],
)
def test_wrong_usage_is_2(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    code, out, err = ran(capsys, *arguments)
    assert (code, out) == (2, "")
    assert "Error" in err


def test_a_good_configuration_is_silent_and_0(capsys: pytest.CaptureFixture[str], config: str) -> None:
    assert ran(capsys, "validate", "--config", config) == (0, "", "")


def test_every_problem_is_on_stderr_and_1(capsys: pytest.CaptureFixture[str], config: str) -> None:
    code, out, err = ran(
        capsys, "validate", "--config", config, "--set", "processors.batch.x=1", "--set", "exporters.y/z="
    )
    assert (code, out) == (1, "")
    types = " ".join(registry.Registry().names(Kind.EXPORTER))
    assert err == (
        "Error: invalid configuration:\n"
        "  processors::batch: has invalid keys: x\n"
        f'  exporters: unknown type: "y" for id: "y/z" (valid values: [{types}])\n'
    )


def test_validate_opens_no_listener(capsys: pytest.CaptureFixture[str], config: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        endpoint = f"receivers.otlp.protocols.http.endpoint=127.0.0.1:{taken.getsockname()[1]}"
        assert ran(capsys, "validate", "--config", config, "--set", endpoint) == (0, "", "")


def test_an_error_is_one_message_and_a_traceback_only_with_debug(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = ran(capsys, "validate", "--config", "nowhere.yaml")
    assert code == 1
    assert "nowhere.yaml: No such file or directory" in err
    assert "Traceback" not in err
    with pytest.raises(Exception, match=r"nowhere.yaml"):
        invoke(["--debug", "validate", "--config", "nowhere.yaml"])


def test_print_config_redacts_and_reads_back(capsys: pytest.CaptureFixture[str], config: str, tmp_path: Path) -> None:
    code, out, _ = ran(capsys, "print-config", "--config", config)
    assert ran(capsys, "print-initial-config", "--config", config)[:2] == (code, out)
    assert code == 0
    assert "hunter2" not in out
    assert "[REDACTED]" in out
    code, out, _ = ran(capsys, "print-config", "--config", config, "--mode", "unredacted", "--format", "json")
    printed = json.loads(out)
    assert printed["exporters"]["otlp_http"]["headers"] == {"authorization": "hunter2"}
    assert printed["processors"]["batch"]["timeout"] == "200ms"
    (tmp_path / "again.yaml").write_text(out)
    assert (
        ran(
            capsys, "print-config", "--config", str(tmp_path / "again.yaml"), "--mode", "unredacted", "--format", "json"
        )[1]
        == out
    )


def test_print_config_without_the_files(capsys: pytest.CaptureFixture[str], config: str) -> None:
    extension = (
        "--set",
        "extensions.bearertokenauth.filename=/nowhere/token",
        "--set",
        "service.extensions=[bearertokenauth]",
    )
    code, _, err = ran(capsys, "print-config", "--config", config, *extension)
    assert code == 1
    assert "extensions::bearertokenauth: filename: /nowhere/token cannot be read" in err
    code, out, _ = ran(capsys, "print-config", "--config", config, *extension, "--validate=false")
    assert code == 0
    assert yaml.safe_load(out)["extensions"]["bearertokenauth"]["filename"] == "/nowhere/token"


def test_components_is_yaml_with_every_type(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = ran(capsys, "components")
    assert (code, err) == (0, "")
    listing = yaml.safe_load(out)
    assert list(listing) == [
        *("buildinfo", "receivers", "processors", "exporters", "connectors", "extensions", "providers")
    ]
    assert {"kafka", "otlp", "zipkin"} <= {entry["name"] for entry in listing["receivers"]}
    assert {entry["name"] for entry in listing["processors"]} == {"batch", "memory_limiter", "tracead"}
    assert {"file", "debug", "otlp_grpc", "otlp_http", "zipkin"} <= {entry["name"] for entry in listing["exporters"]}
    assert listing["exporters"][0]["stability"] == {"traces": "Beta"}
    assert listing["extensions"][0]["stability"] == {"extension": "Beta"}
    assert listing["exporters"][0]["module"] == f"otel_tracead_exporters.debug v{__version__}"
    assert [provider["scheme"] for provider in listing["providers"]] == ["env", "file", "yaml"]
    assert listing["buildinfo"]["version"] == __version__


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (KeyboardInterrupt(), "\nAborted.\n"),
        (TraceadError("no model there"), "Error: no model there\n"),
        (FileNotFoundError(2, "No such file or directory", "x.pb"), "Error: x.pb: No such file or directory\n"),
        (KeyError("x"), "Error: KeyError: 'x' (for the traceback: otel-tracead --debug ...)\n"),
    ],
)
def test_whatever_fails_is_one_line_and_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, error: BaseException, message: str
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(components, "command", click.Command("components", callback=fail))
    assert ran(capsys, "components") == (1, "", message)


def test_output_that_nobody_reads_any_more_is_1_and_silent(tmp_path: Path) -> None:
    line = f"{sys.executable} -m otel_tracead components | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", line], check=True, capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout in {"0\n", "1\n"}
    assert done.stderr == ""


def test_a_component_that_cannot_be_loaded_is_said(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = {**registry.BUILT_IN, Kind.RECEIVER: {"broken": "otel_tracead.nowhere:FACTORY"}}
    monkeypatch.setattr(registry.Registry.__init__, "__defaults__", ((), broken))
    code, out, err = ran(capsys, "components")
    assert code == 1
    assert yaml.safe_load(out)["receivers"] == []
    assert err == "Error: receiver \"broken\" cannot be loaded: No module named 'otel_tracead.nowhere'\n"


def stage(arguments: list[str], folder: Path) -> "subprocess.Popen[str]":
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    return guarded(
        subprocess.Popen(
            [sys.executable, "-m", "otel_tracead", "run", *arguments],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    )


def until(process: "subprocess.Popen[str]", message: str) -> dict[str, dict[str, object]]:
    """Read the log up to *message*; give its lines by message."""
    assert process.stderr is not None
    lines: dict[str, dict[str, object]] = {}
    for text in process.stderr:
        line = json.loads(text)
        lines[line["msg"]] = line
        if line["msg"] == message:
            return lines
    raise AssertionError(lines)


def request(port: object, span_id: str) -> bytes:
    trace = {"traceId": "1" * 32, "spanId": span_id, "name": "op", "startTimeUnixNano": "1", "endTimeUnixNano": "2"}
    body = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [trace]}]}]})
    head = f"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", int(str(port))), 5) as connection:
        connection.sendall((head + body).encode())
        return connection.makefile("rb").read()


def test_run_drains_on_sigterm_and_reloads_on_sighup(config: str, tmp_path: Path) -> None:
    with stage(["--config", config, "--set", "processors.batch.timeout=1h"], tmp_path) as process:
        try:
            port = until(process, "everything is ready")["receiver listens"]["http"]
            assert request(port, "a" * 16).startswith(b"HTTP/1.1 200")
            Path(config).write_text(CONFIG.replace("path: out", "pth: out"))
            process.send_signal(1)
            until(process, "the new configuration is not valid, the old one keeps running")
            assert request(port, "b" * 16).startswith(b"HTTP/1.1 200")
            Path(config).write_text(CONFIG.replace("out.jsonl", "new.jsonl"))
            process.send_signal(1)
            assert "receiver listens" not in until(process, "everything is ready")  # it still does
            assert request(port, "c" * 16).startswith(b"HTTP/1.1 200")
            process.terminate()
            _, err = process.communicate(timeout=20)
        finally:
            process.kill()
    assert process.returncode == 0, err
    assert (tmp_path / "out.jsonl").read_text() == ""  # the batch was not full when the exporter changed
    assert (tmp_path / "new.jsonl").read_text().count("spanId") == 3
    assert "Traceback" not in err


def test_a_port_in_use_is_one_clear_line_and_1(config: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        endpoint = f"receivers.otlp.protocols.http.endpoint=127.0.0.1:{port}"
        with stage(["--config", config, "--set", endpoint], tmp_path) as process:
            out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (1, "")
    assert err.splitlines()[-1].startswith('Error: failed to start "otlp" receiver: ')
    assert str(port) in err
    assert "Traceback" not in err


def imported_by(*arguments: str) -> set[str]:
    """The modules that are there after a command has run."""
    program = (
        "import sys; from otel_tracead.cli import invoke; "
        f"code = invoke({list(arguments)!r}); print(*sys.modules, file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stderr.split())


def test_help_imports_click_and_what_python_has_at_hand() -> None:
    found = imported_by("--help")
    third = {name.partition(".")[0] for name in found} - sys.stdlib_module_names
    assert {name for name in third if not name.startswith("_")} == {"click", "otel_tracead"}
    assert found & {"asyncio", "email", "importlib.metadata", "json", "logging", "socket", "ssl", "subprocess"} == set()
    ours = {name for name in found if name.startswith("otel_tracead")}
    assert ours == {"otel_tracead", "otel_tracead.cli", "otel_tracead.errors"}


def test_a_configuration_imports_its_components_and_no_others() -> None:
    """What `run` imports: all that stands here comes at its first use, or not at all."""
    found = imported_by("validate", "--config", str(ROOT / "examples" / "replica.yaml"))
    late = {"confluent_kafka", "jinja2", "matplotlib", "onnx", "opentelemetry.sdk", "scipy", "torch"}
    assert found & late == set()
    components = (
        "receivers.kafka",
        "receivers.zipkin",
        "receivers.otlpjsonfile",
        "generator",
        "training",
        "evaluation",
    )
    assert [name for name in found if name.startswith(tuple(f"otel_tracead.{one}" for one in components))] == []


def test_help_takes_little_time() -> None:
    """0.05 s of CPU time, measured; a busy machine gets six times that."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    for _ in range(3):
        subprocess.run([sys.executable, "-m", "otel_tracead", "--help"], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / 3 < 0.3
