"""Two real replicas behind a sender that routes as the Collector's exporter does: what is lost and split when one goes or comes."""

from zlib import crc32

import pytest

from benchmarks.load_balancing.__main__ import replayed
from benchmarks.load_balancing.ring import Ring
from benchmarks.load_balancing.scenarios import run

NAMES = [f"replica-{number}:4317" for number in range(4)]
IDS = [number.to_bytes(16, "big") for number in range(1, 20_001)]


@pytest.fixture(scope="module")
def traffic():
    """Five seconds of the shop, each instance exporting every 1.5 s: fast enough for a test, slow enough to be cut."""
    return replayed(5, 60, interval=1.5)


def _run(name, traffic, model, tmp_path):
    outcome = run(name, traffic, model, "2s", tmp_path)
    assert outcome.lost_by_others == 0
    assert outcome.doubled == 0
    assert outcome.unjudged == 0
    return outcome


def test_a_restart_loses_nothing(traffic, model, tmp_path):
    restarted = _run("restart", traffic, model, tmp_path)
    assert restarted.lost == 0
    assert restarted.retries > 0  # the sender kept what was for it meanwhile
    assert 0 < restarted.split < restarted.traces / 4
    assert restarted.moved == 0


@pytest.mark.peers
@pytest.mark.parametrize("name", ["steady", "join", "leave"])
def test_routes_change_and_nothing_is_lost(name, traffic, model, tmp_path):
    outcome = _run(name, traffic, model, tmp_path)
    assert outcome.lost == 0
    assert outcome.split == outcome.moved  # judged twice, once on each replica
    assert (outcome.split > 0) == (name != "steady")
    assert outcome.split < outcome.traces / 3


@pytest.mark.peers
def test_a_kill_loses_what_the_killed_replica_held_and_nothing_else(traffic, model, tmp_path):
    outcome = _run("kill", traffic, model, tmp_path)
    assert 0 < outcome.lost < outcome.sent / 2


def test_the_ring_is_laid_out_as_the_collectors():
    # By hand from consistent_hashing.go: places are CRC-32 of name and counter, modulo 36,000; the next one at or after wins.
    ring = Ring(["endpoint-1"])
    assert {ring.endpoint(key) for key in IDS[:100]} == {"endpoint-1"}
    places = {crc32(name.encode() + bytes([number])) % 36_000: name for name in NAMES[1::-1] for number in range(100)}
    for key in IDS[:1000]:
        own = crc32(key) % 36_000
        later = [place for place in places if place >= own]
        assert Ring(NAMES[:2]).endpoint(key) == places[min(later) if later else min(places)]


def test_one_more_replica_takes_from_all_and_moves_nothing_else():
    before, after = Ring(NAMES[:3]), Ring(NAMES)
    moved = [(before.endpoint(key), after.endpoint(key)) for key in IDS if before.endpoint(key) != after.endpoint(key)]
    assert {new for _, new in moved} == {NAMES[3]}
    assert {old for old, _ in moved} == {*NAMES[:3]}
    assert 0.15 < len(moved) / len(IDS) < 0.35
    assert [Ring(reversed(NAMES)).endpoint(key) for key in IDS[:100]] == [after.endpoint(key) for key in IDS[:100]]
