"""A span costs no more CPU time than it did, beside a Collector in the same run; and a slowdown would be seen."""

from pathlib import Path

import pytest

from benchmarks.regression import LIMIT, PEER, SUBJECTS, Bursts, Contest, compare, dearer, reference
from benchmarks.spans import simulated
from benchmarks.systems import System, named, stage
from tools.peers import Unavailable
from tools.peers.otelcol import binary

SLOWED = System(
    "tracead-slowed", "a stage that wastes 5 µs a span", stage("tracead.yaml", "tests.peers.slowed_stage", "run")
)


@pytest.mark.peers
@pytest.mark.slow
def test_no_span_has_become_dearer_and_a_slowdown_would_be_seen(tmp_path: Path):
    try:
        binary()
    except Unavailable as missing:
        pytest.skip(str(missing))
    with Contest([*(named(name) for name in (PEER, *SUBJECTS)), SLOWED], tmp_path, simulated()) as race:
        found = compare(race, reference())
    ratios = race.bursts.ratios()
    assert race.bursts.lost == 0
    # `python -m benchmarks.regression --write` where this is meant to be, and says why in the commit.
    assert {name: times for name, times in found.items() if name != SLOWED.name} == {}, race.bursts.cpu_us
    assert SLOWED.name in dearer(ratios, {SLOWED.name: ratios["tracead"]}), race.bursts.cpu_us


def test_only_what_is_beyond_the_limit_is_dearer():
    reference = {"tracead": 2.0, "tracead-plumbing": 1.0}
    assert dearer({"tracead": 2.0 * LIMIT - 0.01, "tracead-plumbing": 0.5}, reference) == {}
    assert dearer({"tracead": 2.4, "tracead-plumbing": 1.0}, reference) == {"tracead": pytest.approx(1.2)}


def test_what_has_no_reference_is_not_held_against_one():
    assert dearer({"new": 9.0}, {}) == {}


class _Scripted:
    """Bursts whose costs are known beforehand."""

    def __init__(self, *ratios: float) -> None:
        self.bursts = Bursts({PEER: [], "tracead": []})
        self._ratios = iter(ratios)

    def turns(self, count: int):
        for turn in range(count):
            self.bursts.cpu_us[PEER].append(1.0)
            self.bursts.cpu_us["tracead"].append(next(self._ratios))
            yield turn


def test_noise_passes_at_the_second_look():
    noisy = _Scripted(3.0, 3.0, 3.0, *[2.0] * 6)
    assert compare(noisy, {"tracead": 2.0}, turns=3) == {}
    assert len(noisy.bursts.cpu_us[PEER]) == 9


def test_a_regression_stays_at_the_second_look():
    assert compare(_Scripted(*[2.5] * 9), {"tracead": 2.0}, turns=3) == {"tracead": 1.25}


def test_what_is_as_cheap_as_before_gets_one_look():
    quick = _Scripted(*[2.1] * 3)
    assert compare(quick, {"tracead": 2.0}, turns=3) == {}
    assert len(quick.bursts.cpu_us[PEER]) == 3
