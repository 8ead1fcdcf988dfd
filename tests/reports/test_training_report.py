import pytest
from hostile import HOSTILE, page_text

from otel_tracead.artifact.manifest import Labels, Manifest, Network, ReportCard
from otel_tracead.reports.training import render

FIGURES = {
    "clean_traces": 5888.0,
    "clean_marked": 0.0098,
    "budget": 0.01,
    "recall": 0.92,
    "recall_missing_call": 0.98,
    "located_missing_call": 0.93,
    "rule_missing_call": 0.02,
    "ordinary_missing_call": 0.0,
    "injected_missing_call": 150.0,
    "recall_slow_span": 0.0004,
    "auc": 0.973,
    "precision_at_0.01": 0.48,
    "something_new": 3.25,
}


def manifest(**changes: object) -> Manifest:
    content: dict[str, object] = {
        "schema_version": 1,
        "name": "shop",
        "version": "abc",
        "created": "2026-01-01T00:00:00+00:00",
        "labels": Labels(template="{service} {name}", patterns=(r"\d+",), callee=True, order="tree"),
        "network": Network(
            architecture={"type": "multimodal_lstm", "labels": 81, "label_units": 64},
            inputs={"labels": ["batch", "time"]},
            outputs=["rank"],
            state=320,
        ),
        "thresholds": {"false_positive_rate": 0.02},
        "training": {"traces": 12345, "services": ["ad", "cart"], "recipe": {"batch": 64, "seed": None}, "loss": 0.5},
        "report_card": ReportCard(passed=True, reasons=(), figures=FIGURES, words=("It finds them.",)),
        "files": {},
    }
    return Manifest.model_validate(content | changes)


def test_a_card_that_held_says_so_first():
    text = page_text(render(manifest()))
    body = text[text.index("Its own check") :]
    assert body.startswith("Its own check held")
    for what in (
        "Model shop abc It has learned",
        "12 345 traces",
        "92 % of injected anomalies found",
        "0.973",
        "missing call 98 % 93 % 2.0 % 0 %",
        "slow span < 0.1 % \N{EN DASH}",
        "something new 3.250",
        "if a share of 0.01 of all traces is anomalous 48 %",
        "ad, cart",
        "batch 64, seed none",
        "label units 64",
        "{false_positive_rate: 0.02}",
        "It finds them.",
    ):
        assert what in text, what


def test_a_card_that_did_not_hold_says_why_first():
    card = ReportCard(passed=False, reasons=("AUC 0.51 is no better than chance",), figures={}, words=())
    text = page_text(render(manifest(report_card=card, thresholds={}, training={})))
    assert text.index("did not hold") < text.index("AUC 0.51 is no better than chance") < text.index("Model shop")


def test_the_creation_time_is_not_in_it():
    assert render(manifest(created="1")) == render(manifest(created="2"))


def _printable(text: str) -> str:
    """What of *text* a manifest lets into a name."""
    return "".join(character for character in text if character.isprintable())


@pytest.mark.parametrize("name", ["name", "labels", "training", "card", "network"])
def test_hostile_text_is_only_text(name):
    h = HOSTILE
    changes = {
        "name": {"name": _printable(h), "version": _printable(h), "thresholds": {h: 0.5}},
        "labels": {"labels": Labels(template=h, patterns=(h,), callee=False, order=h)},
        "training": {"training": {h: h, "services": [h], "x": {h: [h]}}},
        "card": {
            "report_card": ReportCard(passed=False, reasons=(h,), figures={h: 1.0, f"recall_{h}": 1.0}, words=(h,))
        },
        "network": {"network": Network(architecture={h: h}, inputs={h: [h, 1]}, outputs=[h], state=1)},
    }
    assert "alert(1)" in page_text(render(manifest(**changes[name])))
