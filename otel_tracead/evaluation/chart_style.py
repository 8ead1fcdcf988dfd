"""How charts look: SVG whose text stays text, readable on a light and on a dark page; the same figures give the same bytes."""

import io
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NEUTRAL: Final = "#7d8695"
BLUE: Final = "#1f83d6"
_STYLE: Final[dict[str, Any]] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "axes.edgecolor": NEUTRAL,
    "axes.labelcolor": NEUTRAL,
    "axes.titlecolor": NEUTRAL,
    "axes.titlesize": 10.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": NEUTRAL,
    "grid.alpha": 0.25,
    "text.color": NEUTRAL,
    "xtick.color": NEUTRAL,
    "ytick.color": NEUTRAL,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
}


def svg(name: str, inches: tuple[float, float], draw: "Callable[[Figure], None]", style: Mapping[str, Any]) -> str:
    """Give a chart without a background.

    Args:
        name: of the chart; makes its ids its own.
        inches: width and height.
        draw: draws it.
        style: matplotlib's settings beyond the common ones.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    out = io.StringIO()
    with mpl.rc_context({**_STYLE, **style, "svg.hashsalt": name}):
        figure = Figure(figsize=inches)
        figure.patch.set_alpha(0.0)
        draw(figure)
        for axes in figure.axes:
            axes.patch.set_alpha(0.0)
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    return out.getvalue()
