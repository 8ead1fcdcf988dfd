"""Packs traces of any lengths into rectangles with little padding, and says where each event lies in them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Ints32 = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float64]
Floats32 = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Fit:
    """How large rectangles are, and how well traces fill them.

    Attributes:
        cells: most positions, padding included, of a rectangle of several traces.
        wasted: most positions that padding adds to a rectangle: as many as cost what one run more costs.
        widened: gives the width of a rectangle whose longest trace is so wide.
    """

    cells: int
    wasted: int = 150
    widened: Callable[[int], int] = int


@dataclass(frozen=True, slots=True)
class Rectangle:
    """Some traces, one a row.

    Attributes:
        traces: which ones, in the order of `Packed`.
        positions: theirs, in the order of `Packed`.
        width: positions of the longest, or more.
    """

    traces: slice
    positions: slice
    width: int


@dataclass(frozen=True, slots=True)
class Packed:
    """Traces by length, and their positions one after the other: the events of a trace and then its end.

    Attributes:
        rectangles: what the traces lie in, in their order.
        order: which of the traces that were to be packed each one is `[traces]`.
        widths: positions of each trace `[traces]`.
        ends: the last position of each trace `[traces]`.
        trace: of each position `[positions]`.
        step: of each position, counted from its trace's first `[positions]`.
        place: index of each position among those of all traces as they were given `[positions]`.
        came: label at each position, `!0` at an end `[positions]`.
        took: scaled time at each position, 0 at an end `[positions]`.
    """

    rectangles: list[Rectangle]
    order: Ints
    widths: Ints
    ends: Ints
    trace: Ints
    step: Ints
    place: Ints
    came: Ints32
    took: Floats32

    def unpacked(self, rectangle: Rectangle) -> tuple[Ints32, Floats32, Ints]:
        """Lay a rectangle out.

        Returns:
            Label and time of each event `[traces, width + 1]`, one column later than their positions: zeros stand before a
            trace, at its end and in the padding. And the cells, counted row by row, that are positions `[positions]`.
        """
        inside = np.arange(rectangle.width) < self.widths[rectangle.traces, None]
        labels = np.zeros((len(inside), rectangle.width + 1), np.int32)
        times = np.zeros(labels.shape, np.float32)
        labels[:, 1:][inside] = self.came[rectangle.positions]
        times[:, 1:][inside] = self.took[rectangle.positions]
        return labels, times, np.flatnonzero(inside)

    def by_step(self, rectangle: Rectangle) -> tuple[Ints32, Floats32, Ints]:
        """Lay a rectangle out step by step.

        Returns:
            Label and time of each event `[width + 1, traces]`, one step later than their positions, as in `unpacked`. And
            the cells, counted step by step, that are positions `[positions]`.
        """
        positions, rows = rectangle.positions, rectangle.traces.stop - rectangle.traces.start
        cells = self.step[positions] * rows
        cells += self.trace[positions]
        cells -= rectangle.traces.start
        shape = rectangle.width + 1, rows
        labels, times = np.zeros(shape, np.int32), np.zeros(shape, np.float32)
        labels[1:].reshape(-1)[cells] = self.came[positions]
        times[1:].reshape(-1)[cells] = self.took[positions]
        return labels, times, cells


def pack(labels: Ints | Ints32, times: Floats, offsets: Ints, fit: Fit, traces: Ints | None = None) -> Packed:
    """Pack traces into rectangles.

    Args:
        labels: dictionary index of each event `[m]`.
        times: scaled time of each event `[m]`.
        offsets: first event of each of all traces `[all traces + 1]`.
        fit: how large they are.
        traces: which of them; all, where nothing is said.
    """
    lengths = offsets[1:] - offsets[:-1]
    if traces is not None:
        lengths = lengths[traces]
    order = lengths.argsort(kind="stable")
    chosen = order if traces is None else traces[order]
    widths = lengths[order] + 1
    begins = np.zeros(len(widths) + 1, np.int64)
    np.add.accumulate(widths, out=begins[1:])
    ends, trace = begins[1:] - 1, np.arange(len(widths)).repeat(widths)
    step = np.arange(len(trace)) - begins.take(trace)
    event = step + offsets[chosen].take(trace)  # at an end any other, or none
    came, took = np.zeros(len(event), np.int32), np.zeros(len(event), np.float32)
    if len(labels):
        came[:], took[:] = labels.take(event, mode="clip"), times.take(event, mode="clip")
        came[ends] = 0
        took[ends] = 0.0
    return Packed(
        rectangles=list(_rectangles(widths, begins, fit)),
        order=order,
        widths=widths,
        ends=ends,
        trace=trace,
        step=step,
        place=event + chosen.take(trace),
        came=came,
        took=took,
    )


def rows_of(traces: Ints, offsets: Ints) -> tuple[Ints, Ints]:
    """Give the rows of some *traces*, trace after trace, and where each of them begins among these rows `[traces + 1]`."""
    first = offsets[traces]
    return rows_from(first, offsets[traces + 1] - first)


def rows_from(first: Ints, lengths: Ints) -> tuple[Ints, Ints]:
    """Give so many rows from each *first* one on `[n]`, one run after the other, and where each run begins among them `[n + 1]`."""
    begins = np.zeros(len(first) + 1, np.int64)
    np.add.accumulate(lengths, out=begins[1:])
    return np.arange(begins[-1]) + (first - begins[:-1]).repeat(lengths), begins


def _rectangles(widths: Ints, begins: Ints, fit: Fit) -> Iterator[Rectangle]:
    """Cut traces, ordered by length, into as few as possible."""
    start = 0
    while start < len(widths):
        if start + 1 == len(widths):
            yield Rectangle(
                slice(start, start + 1), slice(int(begins[start]), int(begins[-1])), fit.widened(int(widths[start]))
            )
            return
        most = slice(start, start + max(1, fit.cells // int(widths[start])))
        counts = np.arange(1, len(widths[most]) + 1)
        padded = counts * widths[most]
        full = begins[most.start + 1 : most.stop + 1] - begins[start]
        fits = (padded <= fit.cells) & (padded - full <= fit.wasted)
        fits[0] = True
        stop = start + (len(fits) if fits.all() else int(np.argmin(fits)))
        yield Rectangle(
            slice(start, stop), slice(int(begins[start]), int(begins[stop])), fit.widened(int(widths[stop - 1]))
        )
        start = stop
