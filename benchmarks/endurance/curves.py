"""Pictures of a run: curves over time, one below the other, with what happened behind them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from otel_tracead.evaluation.chart_style import BLUE, NEUTRAL, svg

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, slots=True)
class Curve:
    """One curve.

    Attributes:
        title: what it is, with its unit.
        seconds: from the start of the run.
        values: at these times.
        limit: a line that it must not cross.
    """

    title: str
    seconds: Sequence[float]
    values: Sequence[float]
    limit: float | None = None


@dataclass(frozen=True, slots=True)
class Span:
    """A while in which something was the matter; drawn as a band."""

    begin: float
    end: float


def draw(place: Path, curves: Sequence[Curve], spans: Sequence[Span] = ()) -> None:
    """Draw *curves* over one axis of time to *place*.svg."""

    def fill(figure: "Figure") -> None:
        axes = figure.subplots(len(curves), 1, sharex=True, squeeze=False)[:, 0]
        for one, curve in zip(axes, curves, strict=True):
            for span in spans:
                one.axvspan(span.begin / 60, span.end / 60, color=NEUTRAL, alpha=0.2, linewidth=0)
            one.plot([at / 60 for at in curve.seconds], curve.values, color=BLUE, linewidth=1.0)
            if curve.limit is not None:
                one.axhline(curve.limit, color=NEUTRAL, linestyle="--", linewidth=0.8)
            one.set_title(curve.title)
            one.set_ylim(bottom=0)
            one.grid(axis="y")
        axes[-1].set_xlabel("minutes")

    place.parent.mkdir(parents=True, exist_ok=True)
    place.with_suffix(".svg").write_text(svg("otel-tracead", (8.0, 1.5 * len(curves)), fill, {"font.size": 9.0}))
