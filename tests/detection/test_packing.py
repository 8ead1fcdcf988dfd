"""Traces in rectangles: each position once, little padding, and what stands where."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from otel_tracead.detection.bound_runs import rounded
from otel_tracead.detection.packing import Fit, Packed, pack

LENGTHS = st.lists(st.one_of(st.integers(0, 60), st.integers(0, 500)), max_size=60)


def packed(lengths: list[int], cells: int, chosen: list[int] | None = None) -> tuple[Packed, np.ndarray, np.ndarray]:
    random, total = np.random.default_rng(0), sum(lengths)
    labels, times = random.integers(1, 99, total), random.normal(size=total)
    offsets = np.cumsum([0, *lengths], dtype=np.int64)
    traces = np.arange(len(lengths)) if chosen is None else np.array(chosen, np.int64)
    return pack(labels, times, offsets, Fit(cells), traces), labels, times


@given(LENGTHS, st.integers(1, 5000))
def test_each_trace_lies_in_one_rectangle_with_little_padding(lengths, cells):
    found, _, _ = packed(lengths, cells)
    assert sorted(found.order.tolist()) == list(range(len(lengths)))
    assert sorted(found.place.tolist()) == list(range(sum(lengths) + len(lengths)))
    traces = positions = 0
    for one in found.rectangles:
        widths = found.widths[one.traces]
        assert (one.traces.start, one.positions.start) == (traces, positions)
        traces, positions = one.traces.stop, one.positions.stop
        assert one.width == widths.max()
        assert one.positions.stop - one.positions.start == widths.sum()
        padded = len(widths) * one.width
        assert len(widths) == 1 or padded <= cells
        assert padded - widths.sum() <= 150
    assert (traces, positions) == (len(lengths), len(found.place))


@given(LENGTHS.filter(len), st.integers(1, 2000), st.randoms(use_true_random=False))
def test_what_came_and_what_stood_before(lengths, cells, random):
    chosen = random.sample(range(len(lengths)), random.randint(1, len(lengths)))
    found, labels, times = packed(lengths, cells, chosen)
    offsets = np.cumsum([0, *lengths])
    wanted = [
        (np.append(labels[offsets[one] : offsets[one + 1]], 0), np.append(times[offsets[one] : offsets[one + 1]], 0))
        for one in chosen
    ]
    for rectangle in found.rectangles:
        *laid_out, cells = found.unpacked(rectangle)
        rows = len(found.widths[rectangle.traces])
        assert laid_out[0].shape == laid_out[1].shape == (rows, rectangle.width + 1)
        grid = np.zeros((rows, rectangle.width), np.bool_)
        for row, trace in enumerate(found.order[rectangle.traces].tolist()):
            length, last = lengths[chosen[trace]], int(found.ends[rectangle.traces][row])
            span = slice(last - length, last + 1)
            first = offsets[chosen[trace]] + chosen[trace]
            grid[row, : length + 1] = True
            assert found.place[span].tolist() == list(range(first, first + length + 1))
            for column, whole, expected in zip((found.came, found.took), laid_out, wanted[trace], strict=True):
                np.testing.assert_array_equal(column[span], expected.astype(column.dtype))
                np.testing.assert_array_equal(whole[row, 1 : length + 2], column[span])
                assert not whole[row, 0]
                assert not whole[row, length + 2 :].any()
        assert cells.tolist() == np.flatnonzero(grid).tolist()
        *by_step, cells = found.by_step(rectangle)
        for one, turned in zip(laid_out, by_step, strict=True):
            np.testing.assert_array_equal(one, turned.T)
        assert sorted(cells.tolist()) == np.flatnonzero(grid.T).tolist()
        np.testing.assert_array_equal(by_step[0][1:].reshape(-1)[cells], found.came[rectangle.positions])


@given(LENGTHS, st.integers(1, 5000))
def test_few_widths_and_much_padding_where_that_costs_less(lengths, cells):
    offsets = np.cumsum([0, *lengths], dtype=np.int64)
    numbers = np.zeros(offsets[-1])
    fit = Fit(cells, wasted=1_000_000, widened=rounded)
    found = pack(numbers.astype(int), numbers, offsets, fit)
    plain, _, _ = packed(lengths, cells)
    assert len(found.rectangles) <= len(plain.rectangles)
    for one in found.rectangles:
        assert one.width == rounded(int(found.widths[one.traces].max()))
        labels, times, _ = found.unpacked(one)
        assert labels.shape == times.shape == (one.traces.stop - one.traces.start, one.width + 1)


def test_no_traces():
    found, _, _ = packed([], 100)
    assert found.rectangles == []
    assert len(found.place) == 0
