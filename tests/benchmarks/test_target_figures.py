"""The harness itself: a detector that finds nothing, one that guesses, and plain rules as a detector; floors tell them apart."""

import json
from dataclasses import dataclass

import numpy as np
import pytest
import tiny_model
from shop_day import day, held_out

from benchmarks import report
from benchmarks.targets import table
from benchmarks.targets.candidate import Candidate, Model, Seen, in_time
from benchmarks.targets.figures import COUNTS, DETECTOR, Figures, measure
from benchmarks.targets.rules import Pairs, Quantiles, limit, strongest
from benchmarks.targets.streams import RESPONSE_TIME, streams
from benchmarks.targets.table import ROWS, Line
from benchmarks.targets.traffic import FAULT, NORMAL, Block, Traffic, blocks
from otel_tracead.detection.detector import DetectionSettings
from otel_tracead.traces.encoding import Encoder, Events, select
from otel_tracead.traces.labels import LabelTemplate

FEW = {kind: 60 if kind == "slowdown" else 15 for kind in COUNTS}


@pytest.fixture(scope="module")
def traffic() -> Traffic:
    return day(every=2)


@pytest.fixture(scope="module")
def block(traffic) -> Block:
    return held_out(traffic)


def nothing(events: Events) -> Seen:
    return Seen(np.zeros(events.traces, np.bool_), np.zeros(events.traces), np.zeros(len(events)), {})


class Constant:
    """Finds nothing, ever."""

    def stream(self, events: Events, asked: np.ndarray) -> Seen:
        return nothing(events)

    def ranks(self, events: Events) -> np.ndarray:
        return np.full(len(events), 7)


class Always(Constant):
    """Marks every span of every trace."""

    def stream(self, events: Events, asked: np.ndarray) -> Seen:
        seen = nothing(events)
        seen.marked[:] = True
        seen.blamed = dict.fromkeys(range(events.traces), frozenset(range(1000)))
        return seen


class Guess:
    """Guesses."""

    def __init__(self) -> None:
        self.random = np.random.default_rng(1)

    def stream(self, events: Events, asked: np.ndarray) -> Seen:
        score = self.random.random(events.traces)
        marked = score > 0.98
        blamed = {one: frozenset([0]) for one in np.flatnonzero(marked).tolist()}
        return Seen(marked, score, self.random.random(len(events)), blamed)

    def ranks(self, events: Events) -> np.ndarray:
        return self.random.integers(0, 30, len(events))


@dataclass
class Plain:
    """Marks pairs that training did not show, and times beyond the longest of it; blames the right span of the latter."""

    training: Events

    def stream(self, events: Events, asked: np.ndarray) -> Seen:
        rule = Quantiles.learn(self.training, "own", "longest")
        slow = rule.events(events)
        clean = strongest(self.training, rule.events(self.training))
        late = strongest(events, slow) > max(limit(clean, 0.005), 2.0)
        unseen = Pairs.learn(self.training).traces(events)
        blamed = {}
        for one in np.flatnonzero(late | unseen).tolist():
            rows = slice(events.offsets[one], events.offsets[one + 1])
            blamed[one] = frozenset([int(np.argmax(slow[rows]))])
        return Seen(late | unseen, slow[events.offsets[:-1]], slow, blamed)

    def ranks(self, events: Events) -> np.ndarray:
        return np.zeros(len(events), np.int64)


def lines_of(traffic: Traffic, block: Block, candidate: Candidate) -> dict[str, Line]:
    found = measure(traffic, block, candidate, seed=0, counts=FEW)
    return {line.row.title: line for line in table.lines("online_boutique", [[found]])}


@pytest.mark.parametrize("candidate", [Constant(), Guess()])
def test_a_constant_and_a_random_detector_meet_no_target_of_finding(traffic, block, candidate) -> None:
    for title, line in lines_of(traffic, block, candidate).items():
        if line.target is not None and not line.row.most and line.row.unit == "%":
            assert not line.met, title
        if title.startswith("real faults") and line.target is not None:
            assert not line.met, title


def test_alarming_always_finds_all_and_marks_all(traffic, block) -> None:
    lines = lines_of(traffic, block, Always())
    assert lines["all five kinds together: found"].met
    assert lines["clean traces marked, another block of time"].value == 1.0
    assert not lines["clean traces marked, another block of time"].met
    assert not lines["real faults: AUC of a minute, all"].met


def test_plain_rules_as_a_detector_reach_what_the_same_rules_reach_beside_it(traffic, block) -> None:
    lines = lines_of(traffic, block, Plain(select(traffic.events, block.training)))
    both = lines["all five kinds together: found"]
    assert both.value >= both.beside["unseen pair"] > 0.5
    assert lines["stalls: found"].value > 0.6
    assert lines["structure, strict injection, k = 1"].met
    assert lines["real faults: AUC of a minute, all"].value == 1.0
    assert lines["likewise, stall"].value > 0.9


def test_the_default_detector_is_judged_even_with_a_random_network(traffic, block) -> None:
    learned = tiny_model.learned(tiny_model.shop_traces(seed=5, duration_s=40.0))
    found = measure(traffic, block, Model(learned), seed=0, counts={"extra": 8, RESPONSE_TIME: 4})
    assert found.share["found extra"][DETECTOR] > 0.7
    assert 0.0 <= found.share["clean marked"][DETECTOR] < 0.3
    assert set(found.share["response_time, 5.0% of spans"]) > {DETECTOR, "quantile (own, rank)"}


def test_a_model_marks_and_blames_as_its_detector_says() -> None:
    traces = tiny_model.shop_traces(seed=6, duration_s=15.0)
    model = Model(tiny_model.learned(traces), DetectionSettings(false_positive_rate=0.2))
    events = Encoder(LabelTemplate()).encode(traces)
    seen = model.stream(events, np.arange(0, events.traces, 2))
    for one, rows in in_time(events):
        assert len(rows) == len(events), "one run, or what a detector remembers would differ"
        detector = model.detector()
        said = detector.verdicts(detector.assess(select(events, one)))
        verdicts = dict(zip(one.tolist(), said, strict=True))
    assert seen.marked.any()
    assert seen.marked.tolist() == [verdicts[trace].anomalous for trace in range(events.traces)]
    assert seen.blamed
    for trace, blamed in seen.blamed.items():
        rows = slice(events.offsets[trace], events.offsets[trace + 1])
        assert trace % 2 == 0
        assert set(events.span[rows][sorted(blamed)].tolist()) == set(verdicts[trace].spans)


def test_blocks_hold_out_each_minute_once_and_never_train_on_it(traffic) -> None:
    found = list(blocks(traffic, 2))
    normal = np.flatnonzero(traffic.state == NORMAL)
    assert np.sort(np.concatenate([one.normal for one in found])).tolist() == normal.tolist()
    for one in found:
        assert set(traffic.minute[one.training]).isdisjoint(traffic.minute[one.normal])
        assert (traffic.state[one.faulty] == FAULT).all()
        assert len(one.faulty) == (traffic.state == FAULT).sum()


def test_streams_replace_few_traces_and_give_as_many_copies_as_asked(traffic, block) -> None:
    normal = select(traffic.events, block.normal)
    counts = dict.fromkeys(COUNTS, 6)
    kinds = []
    for one in streams(normal, counts, np.random.default_rng(3)):
        copies = np.flatnonzero(one.kind != "")
        assert one.events.traces == normal.traces
        assert 0 < len(copies) <= max(1, round(0.02 * normal.traces))
        assert set(one.blame) == set(copies.tolist())
        lengths = np.diff(one.events.offsets)
        assert all(0 <= row < lengths[trace] for trace, rows in one.blame.items() for row in rows)
        kinds += one.kind[copies].tolist()
    assert {kind: kinds.count(kind) for kind in counts} == counts


def test_traces_are_judged_in_the_order_of_time_and_each_once(traffic) -> None:
    runs = list(in_time(traffic.events))
    chosen = np.concatenate([one for one, _ in runs])
    assert np.sort(chosen).tolist() == list(range(traffic.events.traces))
    starts = traffic.events.began[chosen]
    assert (np.diff(starts) >= 0).all()
    for one, rows in runs:
        assert traffic.events.trace[rows].tolist() == np.repeat(one, np.diff(traffic.events.offsets)[one]).tolist()


def test_the_text_says_what_is_met_and_which_rule_is_better() -> None:
    figures = Figures()
    figures.share["found stall"] = {DETECTOR: 0.5, "quantile (own, p99)": 0.95, "unseen pair": 0.0}
    figures.share["clean marked"] = {DETECTOR: 0.01, "quantile (own, p99)": 0.01, "unseen pair": 0.0}
    figures.share["found slowdown"] = {DETECTOR: 0.06, "quantile (own, p99)": 0.03, "unseen pair": 0.5}
    figures.share["clean marked"]["unseen pair"] = 0.2
    lines = table.lines("online_boutique", [[figures]])
    text = table.text("online_boutique", lines)
    stalls, slow, clean = (
        next(one for one in text.splitlines() if one.startswith(title)) for title in ("stalls", "slowdowns", "clean")
    )
    assert "MISSED" in stalls
    assert "<- quantile (own, p99) is better" in stalls
    assert "2.00x" in slow, "a rule that marks more normal traces does not count"
    assert "≤ 2.0" in clean
    assert "met" in clean
    document = table.document(lines)
    assert len(document) == len(lines) < len(ROWS)
    assert {"what", "value", "seeds", "target", "met", "rules"} == set(document[0])


def test_what_was_measured_is_written_with_its_command_commit_and_machine(tmp_path) -> None:
    figures = Figures()
    figures.share["found stall"] = {DETECTOR: np.float64(0.5).item()}
    figures.share["clean marked"] = {DETECTOR: 0.01}
    lines = table.lines("online_boutique", [[figures]])
    document = report.header("benchmarks.targets", ["--seeds", "1"])
    document["online_boutique"] = table.document(lines)
    report.write(
        tmp_path / "results" / "targets", "A title", document, [table.text("online_boutique", lines), "Words."]
    )
    text = (tmp_path / "results" / "targets.txt").read_text()
    assert text.startswith("A title\n\ncommand   python -m benchmarks.targets --seeds 1\ncommit")
    assert text.endswith("Words.\n")
    assert json.loads((tmp_path / "results" / "targets.json").read_text())["online_boutique"][-1]["met"] is False
