"""The units: accepted by systemd where it is there, and true about how long the stage takes to stop."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from otel_tracead.cli import cli
from otel_tracead.duration import parse_duration
from otel_tracead.service.embedded import YAML
from tests.deploy.drain import drain_seconds
from tests.source_tree import ROOT

FOLDER = ROOT / "deploy/systemd"
UNITS = ["otel-tracead.service", "otel-tracead@.service"]
PROGRAM = "/usr/local/bin/otel-tracead"


def _unit(name: str) -> dict[str, dict[str, list[str]]]:
    """Sections of a unit; a key may come several times."""
    sections: dict[str, dict[str, list[str]]] = {}
    for line in (FOLDER / name).read_text().splitlines():
        if found := re.fullmatch(r"\[(\w+)\]", line):
            section = sections.setdefault(found[1], {})
        elif line and not line.startswith("#"):
            key, _, value = line.partition("=")
            section.setdefault(key, []).append(value)
    return sections


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The units, with a program that exists."""
    for path in FOLDER.iterdir():
        (tmp_path / path.name).write_text(path.read_text().replace(PROGRAM, "/bin/true"))
    (tmp_path / "otel-tracead@.service").rename(tmp_path / "otel-tracead@1.service")
    return tmp_path


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd")
def test_systemd_takes_them(installed):
    units = sorted(map(str, installed.iterdir()))
    done = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd")
@pytest.mark.parametrize("unit", UNITS)
def test_little_of_the_machine_is_open_to_them(installed, unit):
    # 20 of 100 is the best that a network service without an address list can be: below it systemd says OK.
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=20"]
    path = installed / unit.replace("@.", "@1.")
    done = subprocess.run([*command, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-300:] + done.stderr


@pytest.mark.parametrize("unit", UNITS)
def test_a_drain_is_not_cut_off(unit):
    timeout = parse_duration(_unit(unit)["Service"]["TimeoutStopSec"][0])
    replica = drain_seconds(ROOT / "examples/replica.yaml")
    assert timeout >= max(drain_seconds(YAML), replica) + 10


@pytest.mark.parametrize("unit", UNITS)
def test_commands_are_those_of_the_program(unit):
    service = _unit(unit)["Service"]
    ours = [line for key in ("ExecStartPre", "ExecStart", "ExecReload") for line in service[key]]
    assert ours.pop() == "/bin/kill -HUP $MAINPID"
    for line in ours:
        program, command, *arguments = line.split()
        assert program == PROGRAM
        options = CliRunner().invoke(cli, [command, "--help"]).output
        assert all(word in options for word in arguments if word.startswith("--"))
    assert service["ExecReload"][0] == service["ExecStartPre"][0]  # looked at before it replaces what runs


def test_replicas_are_the_single_unit_but_for_their_place():
    single, replica = (_unit(name)["Service"] for name in UNITS)
    differing = {key for key in single.keys() | replica.keys() if single.get(key) != replica.get(key)}
    assert differing == {"Environment", "ExecStartPre", "ExecStart", "ExecReload"}
    assert replica["Environment"] == ["TRACEAD_REPLICA=%i TRACEAD_METRICS_PORT=888%i"]
    assert _unit("otel-tracead@.service")["Install"]["WantedBy"] == ["otel-tracead.target"]
    assert _unit("otel-tracead@.service")["Unit"]["PartOf"] == ["otel-tracead.target"]
