"""The report card of a model: what it is, what it learned from, and whether its own check held."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from otel_tracead.artifact.manifest import Manifest
from otel_tracead.detection.paths import Operation
from otel_tracead.reports import path_drawing, rendering
from otel_tracead.reports.path_words import known_services
from otel_tracead.reports.rendering import count, percent

_RECALL: Final = "recall_"
_OF_KIND: Final = (_RECALL, "located_", "rule_", "ordinary_", "injected_")
_SHARES: Final = ("recall", "clean_marked", "budget", "unknown", "unscored", "precision", "plain_rule", "marked_at")

_MOST_OPERATIONS: Final = 20
_MOST_CALLS: Final = 150  # of one operation; more make a page that nobody reads

_NAMES: Final = {
    "clean_traces": "Normal traces looked at",
    "clean_marked": "Normal traces that it marks",
    "clean_marked_lower_95": "the same, lower 95 % bound",
    "clean_marked_upper_95": "the same, upper end of the 95 % interval",
    "budget": "Normal traces that it may mark (budget)",
    "unscored_traces": "Traces without a verdict, for labels that training never saw",
    "unknown_labels": "Spans with a label that training never saw",
    "auc": "AUC (1 = tells every injected anomaly from every normal trace, 0.5 = chance)",
    "auc_lower_95": "the same, lower end of the 95 % interval",
    "auc_upper_95": "the same, upper end",
    "recall": "Injected anomalies that it finds",
    "plain_rule_recall": "the same, of a plain rule for each label's own times that marks as many normal traces",
    "marked_at_tenth_of_budget": "Traces that it would mark with a tenth of the budget, of all that were tried",
    "marked_at_ten_budgets": "the same, with ten times the budget",
}
_AT: Final = {
    "precision_at_": "Marked traces that are anomalous",
    "f1_at_": "F1",
    "f1_always_alarm_at_": "F1 of marking every trace",
}
_TRAINING: Final = {
    "traces_read": "Traces read",
    "spans_read": "Spans read",
    "traces": "Traces learned from",
    "spans": "Spans learned from",
    "labels": "Labels (kinds of span)",
    "rare_labels": "Labels too rare for an entry of their own",
    "services": "Services",
    "folds": "Blocks of time, each checked by a network that never saw it",
    "loss_label_nats": "Loss of labels on held-out traces, nats a span",
    "loss_time_nats": "Loss of times on held-out traces, nats a span",
    "onnx_difference": "Largest difference between PyTorch and ONNX Runtime",
    "recipe": "How the networks were fitted",
}


@dataclass(frozen=True, slots=True)
class Kind:
    """How well one kind of injected anomaly is found.

    Attributes:
        name: of the kind, for people.
        recall: share of the anomalies that were marked.
        located: share of those whose marked span is the right one; None where that was not measured.
        rule: share that the plain rule marks; None likewise.
        ordinary: share that is built like some normal trace; None likewise.
    """

    name: str
    recall: float
    located: float | None
    rule: float | None
    ordinary: float | None


def render(manifest: Manifest, operations: Sequence[Operation] = ()) -> str:
    """Give the page `report.html` of a model artifact, with the execution paths of its root *operations*.

    The creation time is left out: the same seed and input give the same page.
    """
    card = manifest.report_card
    figures = card.figures
    return rendering.render(
        "training.html",
        manifest=manifest,
        card=card,
        kinds=_kinds(figures),
        tiles=[
            (percent(figures[name]), text)
            for name, text in (
                ("recall", "of injected anomalies found"),
                ("clean_marked", "of normal traces marked"),
                ("budget", "may be marked (budget)"),
            )
            if name in figures
        ]
        + ([(f"{figures['auc']:.3f}", "AUC; chance is 0.5")] if "auc" in figures else []),
        figures=[
            (_figure_name(name), _figure(name, figures[name]))
            for name in _sorted(figures, _NAMES)
            if not _of_kind(name)
        ],
        training=[
            (_TRAINING.get(name, _spoken(name)), _plain(manifest.training[name]))
            for name in _sorted(manifest.training, _TRAINING)
        ],
        architecture=[(_spoken(name), _plain(value)) for name, value in manifest.network.architecture.items()],
        paths=path_drawing.draw(operations[:_MOST_OPERATIONS], known_services(manifest), most_rows=_MOST_CALLS),
        more_paths=max(len(operations) - _MOST_OPERATIONS, 0),
        thresholds=[(_spoken(name), _figure(name, value)) for name, value in manifest.thresholds.items()],
    )


def _sorted(names: Iterable[str], known: Iterable[str]) -> list[str]:
    """Give *names* in the order of *known*, then the others."""
    places = {name: place for place, name in enumerate(known)}
    return sorted(names, key=lambda name: (places.get(name, len(places)), name))


def _of_kind(name: str) -> bool:
    return name.startswith(_OF_KIND)


def _kinds(figures: dict[str, float]) -> list[Kind]:
    names = [name.removeprefix(_RECALL) for name in figures if name.startswith(_RECALL)]
    return [
        Kind(
            _spoken(name),
            figures[_RECALL + name],
            figures.get(f"located_{name}"),
            figures.get(f"rule_{name}"),
            figures.get(f"ordinary_{name}"),
        )
        for name in names
    ]


def _figure_name(name: str) -> str:
    for prefix, text in _AT.items():
        if name.startswith(prefix):
            return f"{text}, if a share of {name.removeprefix(prefix)} of all traces is anomalous"
    return _NAMES.get(name, _spoken(name))


def _figure(name: str, value: float) -> str:
    if name.startswith(_SHARES) or name.endswith(("_rate", "_share")):
        return percent(value)
    return count(value) if value == round(value) and abs(value) >= 2 else f"{value:.3f}"


def _plain(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return count(value)
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return ", ".join(f"{_spoken(str(name))} {_plain(inner)}" for name, inner in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value))
    return str(value)


def _spoken(name: str) -> str:
    return name.replace("_", " ")
