"""The recipe of the image, as far as it can be tried without an engine: its context builds, its command and its probe work."""

import json
import re
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import yaml

from tests.source_tree import ROOT

FOLDER = ROOT / "deploy/container"
CONFIG = yaml.safe_load((FOLDER / "config.yaml").read_text())


def _instructions() -> list[tuple[str, str]]:
    text = re.sub(r"^#.*\n", "", (FOLDER / "Containerfile").read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in lines if line)]


STAGES = [[]]
for instruction in _instructions():
    if instruction[0] == "FROM":
        STAGES.append([])
    STAGES[-1].append(instruction)
_, BUILD, FINAL = STAGES


def _of_final(name: str) -> list[str]:
    return [rest for found, rest in FINAL if found == name]


def _context() -> list[str]:
    """What the engine sees of the checkout: everything is left out but what is named."""
    lines = [line for line in (ROOT / ".containerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    return [line.removeprefix("!") for line in lines if line.startswith("!")]


def test_both_engines_leave_out_the_same():
    assert (ROOT / ".dockerignore").read_text() == (ROOT / ".containerignore").read_text()


def test_the_context_is_enough_to_build_the_package(tmp_path):
    for name in _context():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, tmp_path / name)
    copied = [rest.split()[:-1] for name, rest in FINAL if name == "COPY" and not rest.startswith("--from")]
    assert all((tmp_path / source).exists() for sources in copied for source in sources)
    command = [
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        str(tmp_path / "dist"),
        str(tmp_path),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "constraints.txt").exists()


def test_what_it_runs_is_valid():
    entry, arguments = (json.loads(_of_final(name)[0]) for name in ("ENTRYPOINT", "CMD"))
    assert (entry, arguments[0]) == (["otel-tracead"], "run")
    (copied,) = (rest.split() for rest in _of_final("COPY") if not rest.startswith("--from"))
    local = [argument.replace(copied[1], str(ROOT / copied[0])) for argument in arguments[1:]]
    command = [sys.executable, "-m", "otel_tracead", "validate", *local]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_nobody_is_root_in_it():
    assert [rest for name, rest in FINAL if name == "USER"] == ["10001"]
    assert FINAL.index(("USER", "10001")) > max(place for place, (name, _) in enumerate(FINAL) if name == "RUN")
    assert _of_final("STOPSIGNAL") == ["SIGTERM"]


def test_its_ports_are_those_of_its_configuration():
    protocols = CONFIG["receivers"]["otlp"]["protocols"]
    endpoints = [
        protocols["grpc"],
        protocols["http"],
        CONFIG["receivers"]["zipkin"],
        CONFIG["extensions"]["health_check"],
    ]
    reader = CONFIG["service"]["telemetry"]["metrics"]["readers"][0]["pull"]["exporter"]["prometheus"]
    ports = {int(one["endpoint"].rpartition(":")[2]) for one in endpoints} | {reader["port"]}
    assert {int(port) for port in _of_final("EXPOSE")[0].split()} == ports


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False)])
def test_its_probe_tells_ready_from_not(status, healthy):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    (check,) = _of_final("HEALTHCHECK")
    port = CONFIG["extensions"]["health_check"]["endpoint"].rpartition(":")[2]
    words = json.loads(check[check.index("CMD") + 3 :])
    assert f"127.0.0.1:{port}/" in words[-1]
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        words[-1] = words[-1].replace(f":{port}/", f":{server.server_port}/")
        done = subprocess.run([sys.executable, *words[1:]], capture_output=True, check=False)
        server.shutdown()
        thread.join()
    assert (done.returncode == 0) is healthy


def test_what_its_build_runs_of_ours_works():
    commands = [command for name, rest in BUILD if name == "RUN" for command in rest.split(" && ")]
    (ours,) = (command.split()[1:] for command in commands if command.startswith("otel-tracead "))
    assert not {word for word in ours if (ROOT / word).exists()} - {*_context()}
    done = subprocess.run([sys.executable, "-m", "otel_tracead", *ours], cwd=ROOT, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
