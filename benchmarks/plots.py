"""Pictures of results as SVG: text stays text, and the same figures give the same bytes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from otel_tracead.evaluation.chart_style import BLUE, NEUTRAL, svg

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_THEIRS: Final = "#a0a8b4"
_STYLE: Final[dict[str, Any]] = {"font.size": 9.0}
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
    columns = min(_COLUMNS, len(panels))
    rows = -(-len(panels) // _COLUMNS)
    height = 0.7 + 0.26 * max(len(panel.bars) for panel in panels)

    def draw(figure: "Figure") -> None:
        axes = figure.subplots(rows, columns, squeeze=False)
        for one, panel in zip(axes.flat, panels, strict=False):
            _draw(one, panel, unit)
        for one in axes.flat[len(panels) :]:
            one.set_visible(False)

    place.parent.mkdir(parents=True, exist_ok=True)
    place.with_suffix(".svg").write_text(svg("otel-tracead", (4.6 * columns, height * rows), draw, _STYLE))


def _draw(axes: Any, panel: Panel, unit: str) -> None:
    shown = list(reversed(panel.bars))
    names = [bar.name for bar in shown]
    values = [bar.value for bar in shown]
    around = [[bar.value - bar.low for bar in shown], [bar.high - bar.value for bar in shown]]
    colours = [BLUE if name.startswith("tracead") else _THEIRS for name in names]
    axes.barh(names, values, color=colours, height=0.7)
    axes.errorbar(values, names, xerr=around, fmt="none", ecolor=NEUTRAL, elinewidth=1.0, capsize=2)
    for bar in shown:
        axes.annotate(f"{bar.value:.2f}", (bar.high, bar.name), (4, 0), textcoords="offset points", va="center")
    axes.set_title(panel.title)
    axes.set_xlabel(unit)
    axes.set_xlim(0, 1.15 * max(bar.high for bar in shown))
    axes.grid(axis="x")
