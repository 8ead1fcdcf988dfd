import json
from dataclasses import replace

import pytest
from hostile import HOSTILE

from otel_tracead.detection.changes import Change, What
from otel_tracead.detection.ranking import Evidence, RankedService, Ranking
from otel_tracead.reports.ranking import Subject, as_json, as_text, sentence

SUBJECT = Subject(since=0, until=61_500_000_000, traces=1200, against="the normal state of model shop 1")
SLOW = Change(What.OWN_WORK, "cart server GetCart", "cart", "", ("cart",), 412, 3.0, 5.0, 2.0, 0.01)
WAY = Change(What.CALL, "web client GetCart → cart", "web", "cart", ("web", "cart"), 1, 3.0, 5.0, 2.0, 0.01)
FAILED = Change(What.FAILURE, "cart server GetCart", "cart", "", ("cart",), 412, 0.0, 0.25, 1.0, 0.01)
ENDED = Change(
    What.NEXT, "web server /", "web", "cart", ("web", "cart"), 26, 0.002, 1.0, 3.0, 0.01, "web client GetCart → cart"
)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (SLOW, "Own work took 100 ms instead of 999 µs (412 spans: cart server GetCart)."),
        (WAY, "The way from web to cart took 100 ms instead of 999 µs (1 call: web client GetCart)."),
        (FAILED, "25 % of 412 calls failed, usually 0 %: cart server GetCart."),
        (ENDED, "web server / ended after web client GetCart → cart in 100 % of 26 cases, usually in 0.2 %."),
        (
            replace(ENDED, usual=0.98, seen=0.2, instead_of="web client Pay → bank"),
            "web server / called web client Pay → bank after web client GetCart → cart in 20 % of 26 cases, usually in 98 %.",
        ),
        (replace(ENDED, after=None), "web server / ended at once in 100 % of 26 cases, usually in 0.2 %."),
    ],
)
def test_each_change_in_words(change, said):
    assert sentence(change) == said


def ranking(*scores: float, evidence: tuple[Change, ...] = (SLOW,), instances: tuple[str, ...] = ("a",)) -> Ranking:
    found = tuple(Evidence(change, 3.0) for change in evidence)
    return Ranking(
        tuple(RankedService(f"s{n}", score, instances, found if score else ()) for n, score in enumerate(scores)), 0.0
    )


def test_text_shows_those_that_stand_out_and_counts_the_rest():
    lines = as_text(SUBJECT, ranking(7.25, 0.4, 0.0, 0.0)).splitlines()
    assert lines[0] == (
        "1,200 traces from 1970-01-01T00:00:00Z to 1970-01-01T00:01:01.5Z, against the normal state of model shop 1"
    )
    assert "1. s0, score 7.2" in lines
    assert "2. s1, score 0.4 (may be chance)" in lines
    assert lines[-1] == "Nothing speaks for the other 2 services."


def test_text_says_when_nothing_stands_out():
    text = as_text(SUBJECT, ranking(0.0, 0.0))
    assert "No service stands out." in text
    assert "1." not in text.partition("\n")[2]
    assert "may be chance" in as_text(SUBJECT, ranking(0.5, 0.0))


def test_text_is_short_and_lists_the_worst_instances():
    text = as_text(SUBJECT, ranking(*(9.0 - n for n in range(9)), instances=tuple("abcde")))
    assert text.count(", score ") == 5
    assert "Instances, worst first: a, b, c and 2 more" in text
    assert text.endswith("Less speaks for the other 4 services.")


def test_json_gives_times_or_shares():
    services = json.loads(as_json(SUBJECT, ranking(7.0, 0.0, evidence=(SLOW, ENDED))))["services"]
    slow, ended = services[0]["evidence"]
    assert (slow["type"], slow["spans"], slow["expected_ms"], slow["observed_ms"]) == (
        "response_time",
        412,
        0.999,
        99.999,
    )
    assert (ended["type"], ended["expected_ms"], ended["expected_share"], ended["observed_share"]) == (
        "structural",
        None,
        0.002,
        1.0,
    )
    assert services[1] == {"service": "s1", "score": 0.0, "instances": ["a"], "evidence": []}


def test_names_from_outside_do_no_harm():
    hostile = replace(SLOW, label=HOSTILE + "\ud800", service=HOSTILE)
    found = Ranking(
        (RankedService(HOSTILE + "\x1b[2J\ud800", 5.0, (HOSTILE, "\x1b]0;"), (Evidence(hostile, 3.0),)),), 0.0
    )
    text = as_text(SUBJECT, found)
    assert all(one.isprintable() or one == "\n" for one in text)
    assert json.loads(as_json(SUBJECT, found))["services"][0]["service"].startswith(HOSTILE)
