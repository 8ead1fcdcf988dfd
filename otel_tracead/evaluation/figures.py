"""The paper's Figures 5 to 9 as SVG: mean over the seeds, with the least and the most as whiskers or a band."""

from collections.abc import Sequence
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from otel_tracead.evaluation.chart_style import BLUE, NEUTRAL, svg
from otel_tracead.evaluation.tables import Spread, Summary

_COLOURS: Final = (BLUE, "#e08a00", "#12a06e", "#c95fa0", "#d9542b", "#49b3d6", "#8f7ee0", "#a08a3c")
_MARKS: Final = ("o", "s", "^", "D", "v", "P", "X", "<")
_STYLE: Final[dict[str, Any]] = {"font.size": 10.0, "axes.grid": True}


def looks(models: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Give each model its colour and mark, the same in every figure."""
    return {model: (_COLOURS[place % len(_COLOURS)], _MARKS[place % len(_MARKS)]) for place, model in enumerate(models)}


def by_rule(name: str, summaries: Sequence[Summary], look: dict[str, tuple[str, str]], value: str, what: str) -> str:
    """Draw bars: a group for each rule, a bar for each model, whiskers from the least to the most of the seeds.

    Args:
        name: of the figure; makes its ids its own.
        summaries: what is drawn.
        look: colour and mark of each model.
        value: which of a summary's figures.
        what: says it at the axis.
    """
    rules = list(dict.fromkeys(one.rule for one in summaries))
    models = [model for model in look if any(one.model == model for one in summaries)]
    groups = {rule: {one.model: one for one in summaries if one.rule == rule} for rule in rules}
    wide = 0.84 / max((len(group) for group in groups.values()), default=1)

    def place(rule: str, model: str) -> float:
        """Give where the bar of a model stands: side by side around the middle of its group."""
        group = [one for one in models if one in groups[rule]]
        return rules.index(rule) + (group.index(model) - (len(group) - 1) / 2) * wide

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for model in models:
            of = [rule for rule in rules if model in groups[rule]]
            spreads: list[Spread] = [getattr(groups[rule][model], value) for rule in of]
            x = [place(rule, model) for rule in of]
            means = [one.mean for one in spreads]
            whiskers = [[one.mean - one.low for one in spreads], [one.high - one.mean for one in spreads]]
            axes.bar(x, means, 0.92 * wide, color=look[model][0], label=model)
            axes.errorbar(x, means, whiskers, fmt="none", ecolor=NEUTRAL, elinewidth=1.2, capsize=2)
            for at, one in zip(x, spreads, strict=True):
                axes.annotate(
                    _figure(one.mean), (at, one.high), (0, 3), textcoords="offset points", ha="center", fontsize=8.0
                )
        axes.set_xticks(range(len(rules)), rules)
        axes.grid(visible=False, axis="x")
        _share(axes, what)
        figure.legend(loc="outside upper center", ncols=3)

    return svg(name, (8.4, 3.9), draw, _STYLE)


def by_place(name: str, summaries: Sequence[Summary], look: dict[str, tuple[str, str]], where: str) -> str:
    """Draw lines: a panel for each rule, a line for each model over lengths or positions, a band from least to most.

    Args:
        name: of the figure; makes its ids its own.
        summaries: what is drawn: what was found strictly.
        look: colour and mark of each model.
        where: says what the lines go over.
    """
    rules = list(dict.fromkeys(one.rule for one in summaries))
    models = [model for model in look if any(one.model == model for one in summaries)]

    def draw(figure: Figure) -> None:
        panels = figure.subplots(1, max(len(rules), 1), sharey=True, squeeze=False)[0]
        for panel, rule in zip(panels, rules, strict=False):
            for model in models:
                own = sorted((one for one in summaries if one.model == model and one.rule == rule), key=_place)
                spreads = [one.strict for one in own]
                x = [one.at for one in own]
                colour, mark = look[model]
                panel.fill_between(
                    x,
                    [one.low for one in spreads],
                    [one.high for one in spreads],
                    color=colour,
                    alpha=0.15,
                    linewidth=0,
                )
                panel.plot(
                    x,
                    [one.mean for one in spreads],
                    color=colour,
                    marker=mark,
                    markersize=4,
                    linewidth=1.6,
                    label=model,
                )
            panel.set_title(rule)
            panel.set_xlabel(where)
            panel.xaxis.set_major_locator(MaxNLocator(integer=True))
            _share(panel, "anomalies found, strictly" if panel is panels[0] else "")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=3)

    return svg(name, (max(8.4, 3.4 * len(rules)), 3.9), draw, _STYLE)


def _figure(share: float) -> str:
    """Write a share in as few signs as fit on a bar."""
    value = 100 * share
    return f"{value:.1f}" if 0 < value < 10 or 99 < value < 100 else f"{value:.0f}"


def _place(summary: Summary) -> int:
    return summary.at


def _share(axes: Axes, what: str) -> None:
    axes.set_ylim(0.0, 1.05)
    axes.set_yticks([0.0, 0.2, 0.4, 0.6, 0.8, 1.0])
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_ylabel(what)
