"""The endurance benchmarks in short, and that each of them sees a stage that loses or doubles one span."""

from pathlib import Path

import pytest

from benchmarks.endurance import crashes, outage, soak
from benchmarks.endurance.faults import Fault, Kind
from benchmarks.endurance.rig import Load
from benchmarks.endurance.stage import Setup

_FAULTY = "tests.peers.faulty_stage"

pytestmark = [pytest.mark.peers, pytest.mark.slow]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is missing after so long will not come: retries of these runs wait for eight seconds at most."""
    for command in (crashes, outage, soak):
        monkeypatch.setattr(command, "_SILENCE", 9.0)


def setup(model: Path, *, storage: bool, module: str = "otel_tracead") -> Setup:
    return Setup(model=model, wait=1.0, storage=storage, memory_mib=512, module=(module,))


def crash_plan(end: crashes.End, times: int, stage: Setup) -> crashes.Plan:
    load = Load(rate=2000, seconds=120, per_request=50, round_seconds=5)
    return crashes.Plan(end=end, times=times, setup=stage, load=load, latest=5.0, seed=5)


def test_killed_three_times_with_a_store(model: Path, tmp_path: Path) -> None:
    found = crashes.run(crash_plan("kill", 3, setup(model, storage=True)), tmp_path)
    assert found.trouble() == ""
    assert found.account.accepted > 5000
    assert found.account.traces > 100


def test_ended_three_times_without_one(model: Path, tmp_path: Path) -> None:
    found = crashes.run(crash_plan("term", 3, setup(model, storage=False)), tmp_path)
    assert found.trouble() == ""
    assert found.account.accepted > 5000


def test_killed_without_a_store_spans_are_missing(model: Path, tmp_path: Path) -> None:
    found = crashes.run(crash_plan("kill", 1, setup(model, storage=False)), tmp_path)
    assert "acknowledged spans are missing" in found.trouble()


@pytest.mark.parametrize(("fault", "said"), [("drop", "acknowledged spans are missing"), ("double", "came out twice")])
def test_one_span_is_seen(fault: str, said: str, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENDURANCE_FAULT", fault)
    found = crashes.run(crash_plan("term", 1, setup(model, storage=False, module=_FAULTY)), tmp_path)
    assert said in found.trouble()
    counts = found.account
    # One of each life that passed a thousand spans.
    assert 1 <= max(counts.missing, counts.twice) <= 2


def outage_plan(stage: Setup, away: float) -> outage.Plan:
    load = Load(rate=3000, seconds=200, per_request=100, round_seconds=5)
    return outage.Plan(setup=stage, load=load, before=4, away=away, after=1)


def test_the_backend_is_away_for_ten_seconds(model: Path, tmp_path: Path) -> None:
    found = outage.run(outage_plan(setup(model, storage=True), 10), tmp_path)
    assert found.trouble() == ""
    assert found.waiting > 15_000
    assert found.disk_mib > 1


def test_an_outage_with_a_span_lost_is_seen(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENDURANCE_FAULT", "drop")
    plan = outage_plan(setup(model, storage=False, module=_FAULTY), 2)
    assert "1 acknowledged spans are missing" in outage.run(plan, tmp_path).trouble()


def soak_plan(stage: Setup, *kinds: Kind) -> soak.Plan:
    faults = [Fault(3.0 + 2 * number, 1.0, kind) for number, kind in enumerate(kinds)]
    load = Load(rate=3000, seconds=20, per_request=100, round_seconds=5)
    return soak.Plan(setup=stage, load=load, faults=faults, warm_up=2.0, seed=1)


def test_twenty_seconds_with_faults(model: Path, tmp_path: Path) -> None:
    every = (Kind.AWAY, Kind.CUT, Kind.NONSENSE, Kind.FROZEN, Kind.RELOAD, Kind.BAD, Kind.SLOW_CLIENTS, Kind.GIANT)
    found = soak.run(soak_plan(setup(model, storage=True), *every), tmp_path)
    assert found.trouble(512) == ""
    assert found.account.accepted >= 30_000  # a busy machine takes its time
    assert set(found.struck) == {kind.value for kind in every}
    assert all("200" not in status.rpartition(": ")[2] for status in found.statuses)


def test_a_soak_with_a_kill(model: Path, tmp_path: Path) -> None:
    found = soak.run(soak_plan(setup(model, storage=True), Kind.KILLED, Kind.AWAY, Kind.KILLED), tmp_path)
    assert found.trouble(512) == ""
    assert found.struck[Kind.KILLED.value] == 2


def test_a_soak_with_a_span_doubled_is_seen(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENDURANCE_FAULT", "double")
    plan = soak_plan(setup(model, storage=False, module=_FAULTY))
    assert "1 spans came out twice" in soak.run(plan, tmp_path).trouble(512)
