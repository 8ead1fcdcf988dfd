"""Measured rows of several seeds become tables: mean and spread, as CSV for programs and as text for people."""

import csv
import io
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Final

import numpy as np

from otel_tracead.evaluation.experiments import By, Kind, Row

Cell = str | int | float

NOTHING: Final = "-"
"""Stands where nothing was measured."""


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure over several seeds; NaN where it was not measured."""

    mean: float
    low: float
    high: float

    def words(self, write: Callable[[float], str]) -> str:
        """Say the mean, and from where to where it goes if the seeds differ."""
        if math.isnan(self.mean):
            return NOTHING
        mean, low, high = write(self.mean), write(self.low), write(self.high)
        if low == high:
            return mean
        unit = mean.lstrip("+-.0123456789")
        if low.endswith(unit) and high.endswith(unit):
            low, high = low.removesuffix(unit), high.removesuffix(unit)
        return f"{mean} ({low} to {high})"


@dataclass(frozen=True, slots=True)
class Summary:
    """The rows of one model and rule over all seeds.

    Attributes:
        model: as the tables name it.
        kind: what was injected.
        rule: what counts as flagged.
        by: what its traces have in common.
        at: the length, or the position; 0 for all.
        seeds: how many.
        injected: anomalies of all seeds together.
        found: share of the anomalies that were flagged.
        strict: the same, where the clean event was not flagged as well.
        clean_events: share of clean events that were flagged.
        clean_traces: share of clean traces that were flagged.
    """

    model: str
    kind: Kind
    rule: str
    by: By
    at: int
    seeds: int
    injected: int
    found: Spread
    strict: Spread
    clean_events: Spread
    clean_traces: Spread


@dataclass(frozen=True, slots=True)
class Table:
    """One table.

    Attributes:
        name: of its file.
        title: what it shows, for people.
        columns: their names.
        rows: as many cells each.
    """

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def csv(self) -> str:
        """Write it as CSV; a share is a number from 0 to 1, what was not measured is empty."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows([["" if _missing(cell) else _short(cell) for cell in row] for row in self.rows])
        return out.getvalue()


_FIGURE: Final = ("", *"0123456789+-")
_MEASURED: Final = ("found", "strict", "clean_events", "clean_traces")


def spread(values: Iterable[float]) -> Spread:
    """Give mean, least and most of what was measured of *values*."""
    known = [value for value in values if not math.isnan(value)]
    if not known:
        return Spread(math.nan, math.nan, math.nan)
    return Spread(float(np.mean(known)), min(known), max(known))


def summarize(rows: Sequence[Row]) -> list[Summary]:
    """Bring the seeds together, in the order in which models and rules first come."""
    groups: dict[tuple[str, Kind, str, By, int], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.model, row.kind, row.rule, row.by, row.at), []).append(row)
    return [
        Summary(
            *key,
            len(own),
            sum(row.injected for row in own),
            *(spread(getattr(row, name) for row in own) for name in _MEASURED),
        )
        for key, own in groups.items()
    ]


def table(name: str, title: str, summaries: Sequence[Summary]) -> Table:
    """Write summaries of one kind as a table."""
    by = summaries[0].by if summaries else By.ALL
    place = () if by is By.ALL else (by.value,)
    measured = tuple(f"{column}_{part}" for column in _MEASURED for part in ("mean", "min", "max"))
    return Table(
        name,
        title,
        ("model", "rule", *place, "seeds", "injected", *measured),
        tuple(
            (
                one.model,
                one.rule,
                *((one.at,) if place else ()),
                one.seeds,
                one.injected,
                *(getattr(getattr(one, column), part) for column in _MEASURED for part in ("mean", "low", "high")),
            )
            for one in summaries
        ),
    )


def raw(rows: Sequence[Row]) -> Table:
    """Write every row as it was measured."""
    return Table(
        "rows",
        "Every model, seed, rule and group as it was measured",
        tuple(field.name for field in fields(Row)),
        tuple(tuple(asdict(row).values()) for row in rows),
    )


@dataclass(frozen=True, slots=True)
class Listing:
    """A table for people: every cell is text.

    Attributes:
        columns: their names.
        rows: as many cells each.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def text(self) -> str:
        """Write it with aligned columns: to the left, but those of figures to the right."""
        lines = (self.columns, *self.rows)
        widths = [max(len(line[place]) for line in lines) for place in range(len(self.columns))]
        right = [all(row[place][:1] in _FIGURE for row in self.rows) for place in range(len(self.columns))]
        return "\n".join(
            "  ".join(
                cell.rjust(width) if figures else cell.ljust(width)
                for cell, width, figures in zip(line, widths, right, strict=True)
            ).rstrip()
            for line in lines
        )


def listing(summaries: Sequence[Summary], write: Callable[[float], str]) -> Listing:
    """List summaries of all traces: recall, and its false alarms beside it."""
    return Listing(
        ("model", "flagged if outside", "found", "strictly", "clean spans flagged", "clean traces flagged"),
        tuple((one.model, one.rule, *(getattr(one, name).words(write) for name in _MEASURED)) for one in summaries),
    )


def across(summaries: Sequence[Summary], value: str, write: Callable[[float], str]) -> Listing:
    """List the mean of one *value*, a line for each model and rule, a column for each length or position."""
    places = sorted({one.at for one in summaries})
    cells = {(one.model, one.rule, one.at): getattr(one, value).mean for one in summaries}
    return Listing(
        ("model", "rule", *map(str, places)),
        tuple(
            (model, rule, *(_written(cells.get((model, rule, place), math.nan), write) for place in places))
            for model, rule in dict.fromkeys((one.model, one.rule) for one in summaries)
        ),
    )


def _written(value: float, write: Callable[[float], str]) -> str:
    return NOTHING if math.isnan(value) else write(value)


def _missing(cell: Cell) -> bool:
    return isinstance(cell, float) and math.isnan(cell)


def _short(cell: Cell) -> Cell:
    return float(f"{cell:.6g}") if isinstance(cell, float) else cell
