"""Tables, claims in words, figures and the page of the paper's experiments."""

import csv
import io
import math
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import numpy as np
import pytest
from fake_models import LABELS, Constant, Knowing, OneSided, Random, traffic

from otel_tracead.evaluation import claims, tables
from otel_tracead.evaluation.claims import Cast, Cost, Verdict
from otel_tracead.evaluation.experiments import SPAN_SHARES, By, Kind, Row, measure, rule_at, rule_of
from otel_tracead.evaluation.report import Study, files

pytest.importorskip("matplotlib", reason="the figures need the extra `train` or `dev`")

CAST = Cast("knows both", "knows labels", "dense", "random", "constant")


@pytest.fixture(scope="module")
def study() -> Study:
    rows: list[Row] = []
    dense = Random()
    dense.name = "dense"
    models = (
        Knowing("knows both"),
        OneSided("knows labels", labels=True),
        OneSided("knows times", labels=False),
        dense,
        Random(),
        Constant(),
    )
    for seed in range(2):
        clean = traffic(300, seed, slip=0.002)
        for model in models:
            rows += measure(model, clean, np.arange(1, LABELS + 1), seed)
    costs = [Cost(model.name, seed, 100.0 + seed, 2.5) for model in models for seed in range(2)]
    return Study(
        "made-up <traffic> & more", tuple(rows), tuple(costs), CAST, (("command", "evaluate <x>"),), ("few traces",)
    )


@pytest.fixture(scope="module")
def written(study) -> dict[str, str]:
    return files(study)


def row(model: str, seed: int, strict: float, rule: str = rule_of(1)) -> Row:
    return Row(model, seed, Kind.STRUCTURE, rule, By.ALL, 0, 100, 1.0, strict, 1.0 - strict, 0.5)


def test_a_spread_says_its_unit_once_where_it_has_one() -> None:
    assert tables.Spread(90.0, 60.0, 150.0).words(claims.seconds) == "90 s (60 s to 2.5 min)"
    assert tables.Spread(0.5, 0.4, 1.0).words(claims.percent) == "50.0 % (40.0 to 100)"
    assert tables.Spread(0.2, -0.1, 0.3).words(claims.points) == "+20.0 points (-10.0 to +30.0)"
    assert tables.Spread(0.2, 0.2, 0.2).words(claims.percent) == "20.0 %"


def margin(*pairs: tuple[float, float]) -> Verdict:
    rows = [row("knows both", seed, both) for seed, (both, _) in enumerate(pairs)]
    rows += [row("knows labels", seed, alone) for seed, (_, alone) in enumerate(pairs)]
    (claim,) = [claim for claim in claims.judge(rows, [], CAST) if "16 points" in claim.said]
    return claim.verdict


def test_seeds_become_mean_and_spread() -> None:
    (found,) = tables.summarize([row("a", 0, 0.5), row("a", 1, 0.7)])
    assert (found.seeds, found.injected) == (2, 200)
    assert found.strict.mean == pytest.approx(0.6)
    assert (found.strict.low, found.strict.high) == (0.5, 0.7)
    assert found.strict.words(claims.percent) == "60.0 % (50.0 to 70.0)"
    assert tables.spread([math.nan]).words(claims.percent) == tables.NOTHING


def test_a_margin_is_judged_seed_by_seed() -> None:
    assert margin((0.9, 0.7), (0.9, 0.7)) is Verdict.HELD
    assert margin((0.9, 0.8), (0.8, 0.7)) is Verdict.PARTLY
    assert margin((0.9, 0.89), (0.8, 0.79)) is Verdict.FAILED
    assert margin((0.99, 0.8), (0.7, 0.75)) is Verdict.FAILED


def test_better_at_one_share_of_false_alarms_is_not_better() -> None:
    def timed(model: str, rule: str, strict: float) -> Row:
        return Row(model, 0, Kind.TIME, rule, By.ALL, 0, 100, strict, strict, 0.01, 0.1)

    def verdict(*advantages: float) -> Verdict:
        rules = [rule_at(share) for share in SPAN_SHARES]
        rows = [timed("constant", rule, 0.5) for rule in rules]
        rows += [timed("knows both", rule, 0.5 + more) for rule, more in zip(rules, advantages, strict=True)]
        return claims.judge(rows, [], CAST)[-1].verdict

    assert verdict(0.1, 0.1, 0.1) is Verdict.HELD
    assert verdict(-0.2, 0.1, -0.1) is Verdict.PARTLY
    assert verdict(-0.2, -0.1, 0.0) is Verdict.FAILED


def test_what_was_not_measured_is_not_judged() -> None:
    assert {claim.verdict for claim in claims.judge([], [], CAST)} == {Verdict.OPEN}


def test_slow_models_fail_their_claims() -> None:
    slow = claims.judge([], [Cost("knows both", 0, 3600.0, 80.0)], CAST)
    assert [claim.verdict for claim in slow if "minutes" in claim.said or "50 ms" in claim.said] == [Verdict.FAILED] * 2


def test_a_knowing_model_holds_and_a_random_one_does_not(study) -> None:
    said = {claim.said: claim.verdict for claim in claims.judge(study.rows, study.costs, CAST)}
    assert list(said.values()).count(Verdict.HELD) >= 6
    structure = next(verdict for words, verdict in said.items() if "structural" in words)
    assert structure is Verdict.PARTLY, "its second guess is the end of the trace: k = 1 flags every clean one"
    swapped = Cast("dense", "knows labels", "knows both", "knows both", "knows both")
    turned = [claim.verdict for claim in claims.judge(study.rows, [], swapped)]
    assert Verdict.HELD not in turned
    assert turned.count(Verdict.FAILED) == 7


def test_tables_are_csv_with_shares_from_0_to_1(written) -> None:
    for name, text in written.items():
        if name.endswith(".csv"):
            lines = list(csv.reader(io.StringIO(text)))
            assert len(lines) > 1
            assert {len(line) for line in lines} == {len(lines[0])}, name
    for line in csv.DictReader(io.StringIO(written["tables/figure-6-structure-by-length.csv"])):
        assert 2 <= int(line["length"]) <= 20
        assert 0 <= float(line["strict_min"]) <= float(line["strict_mean"]) <= float(line["strict_max"]) <= 1


def test_the_summary_says_everything_in_words(written, study) -> None:
    text = written["summary.txt"]
    assert text.splitlines()[1] == "command: evaluate <x>"
    assert "WARNING: few traces" in text
    for claim in claims.judge(study.rows, study.costs, CAST):
        assert f"{claim.verdict.value.upper()}: {claim.said}" in text
    for number in range(5, 10):
        assert f"Figure {number}:" in text


def test_figures_are_svg_with_text_and_the_same_every_time(written, study) -> None:
    drawings = {name: text for name, text in written.items() if name.endswith(".svg")}
    assert len(drawings) == 7
    again = files(study)
    for name, text in drawings.items():
        ET.fromstring(text)
        assert "knows both" in text, "text stays text"
        assert again[name] == text


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            assert not name.startswith("on")
            assert name not in {"src", "srcset", "action", "data"}
            if name == "id":
                self.ids.append(value or "")
            if name.endswith("href"):
                self.links.append(value or "")
            self.links += re.findall(r"url\(([^)]*)\)", value or "")


def test_the_page_stands_alone(written) -> None:
    page = _Page()
    page.feed(written["report.html"])
    assert "script" not in page.tags
    assert len(page.ids) == len(set(page.ids)), "figures do not take each other's parts"
    assert page.links
    assert {link.removeprefix("#") for link in page.links} <= set(page.ids)
    assert "<traffic>" not in written["report.html"]
    assert "Of 7 claims of the paper" in written["report.html"]
