"""Pictures of results as SVG: text stays text, and the same figures give the same bytes."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

_NEUTRAL: Final = "#7d8695"  # readable on a light and on a dark page
_OURS: Final = "#1f83d6"
_THEIRS: Final = "#a0a8b4"
_STYLE: Final[dict[str, Any]] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "otel-tracead",
    "font.family": "sans-serif",
    "font.size": 9.0,
    "axes.edgecolor": _NEUTRAL,
    "axes.labelcolor": _NEUTRAL,
    "axes.titlecolor": _NEUTRAL,
    "axes.titlesize": 10.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": _NEUTRAL,
    "grid.alpha": 0.25,
    "text.color": _NEUTRAL,
    "xtick.color": _NEUTRAL,
    "ytick.color": _NEUTRAL,
    "figure.constrained_layout.use": True,
}
_COLUMNS: Final = 2


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: the median, and the least and the most."""

    name: str
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Panel:
    """Bars under a heading."""

    title: str
    bars: Sequence[Bar]


def bars(place: Path, panels: Sequence[Panel], unit: str) -> None:
    """Draw *panels* to *place*.svg; ours are the bars whose name begins with `tracead`."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    rows = -(-len(panels) // _COLUMNS)
    height = 0.7 + 0.26 * max(len(panel.bars) for panel in panels)
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(4.6 * min(_COLUMNS, len(panels)), height * rows))
        axes = figure.subplots(rows, min(_COLUMNS, len(panels)), squeeze=False)
        for one, panel in zip(axes.flat, panels, strict=False):
            _draw(one, panel, unit)
        for one in axes.flat[len(panels) :]:
            one.set_visible(False)
        written = io.StringIO()
        figure.savefig(written, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    place.parent.mkdir(parents=True, exist_ok=True)
    place.with_suffix(".svg").write_text(written.getvalue())


def _draw(axes: Any, panel: Panel, unit: str) -> None:
    shown = list(reversed(panel.bars))
    names = [bar.name for bar in shown]
    values = [bar.value for bar in shown]
    around = [[bar.value - bar.low for bar in shown], [bar.high - bar.value for bar in shown]]
    colours = [_OURS if name.startswith("tracead") else _THEIRS for name in names]
    axes.barh(names, values, color=colours, height=0.7)
    axes.errorbar(values, names, xerr=around, fmt="none", ecolor=_NEUTRAL, elinewidth=1.0, capsize=2)
    for bar in shown:
        axes.annotate(f"{bar.value:.2f}", (bar.high, bar.name), (4, 0), textcoords="offset points", va="center")
    axes.set_title(panel.title)
    axes.set_xlabel(unit)
    axes.set_xlim(0, 1.15 * max(bar.high for bar in shown))
    axes.grid(axis="x")
