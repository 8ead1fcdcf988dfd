"""ONNX Runtime on a small random network: what must not depend on how traces are put together."""

from itertools import pairwise

import numpy as np
import onnx
import pytest
from host_device import cuda_on_host
from hypothesis import given
from hypothesis import strategies as st
from tiny_model import SIZES, random_network

from otel_tracead.detection import onnx_sessions
from otel_tracead.detection import scorer as scorers
from otel_tracead.detection.packing import Fit
from otel_tracead.detection.scorer import Scorer
from otel_tracead.errors import ArtifactError
from otel_tracead.traces.dictionary import RARE_ID
from otel_tracead.training.architecture import MOST_CLASSES, Architecture

LABELS = 12
ARCHITECTURE = Architecture(labels=LABELS, **SIZES)
NETWORK = random_network(ARCHITECTURE)


def scorer(**options: object) -> Scorer:
    return Scorer(NETWORK, **({"state": ARCHITECTURE.state, "labels": LABELS, "provider": "cpu"} | options))


@pytest.fixture(scope="module")
def one() -> Scorer:
    return scorer()


def columns(lengths: list[int], seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    total = sum(lengths)
    return random.integers(1, LABELS, total), random.normal(0, 2, total), np.cumsum([0, *lengths], dtype=np.int64)


def alone(one: Scorer, labels: np.ndarray, times: np.ndarray, offsets: np.ndarray) -> list:
    return [
        one.surprise(labels[first:last], times[first:last], np.array([0, last - first]), ranks=True)
        for first, last in pairwise(offsets.tolist())
    ]


@given(lengths=st.lists(st.integers(0, 40), max_size=30), cells=st.sampled_from([1, 50, 8192]))
def test_other_traces_in_a_batch_change_nothing(one, lengths, cells):
    labels, times, offsets = columns(lengths)
    one._fits, before = {"cpu": Fit(cells)}, one._fits
    try:
        found = one.surprise(labels, times, offsets, ranks=True)
    finally:
        one._fits = before
    assert found.offsets.tolist() == [0, *np.cumsum(np.array(lengths, int) + 1)]
    for trace, single in enumerate(alone(one, labels, times, offsets)):
        rows = slice(found.offsets[trace], found.offsets[trace + 1])
        np.testing.assert_allclose(found.label[rows], single.label, atol=1e-5)
        np.testing.assert_allclose(found.time[rows], single.time, atol=1e-5)
        assert found.time[rows][-1] == 0.0
        np.testing.assert_array_equal(found.rank[rows], single.rank)
    assert (found.label >= 0).all()
    assert (found.time >= -1e-6).all()


@pytest.mark.parametrize("window", [1, 2, 7, 20, 21])
def test_windows_carry_their_state(one, monkeypatch, window):
    labels, times, offsets = columns([3, 20, 0, 64, 19, 21])
    whole = one.surprise(labels, times, offsets)
    details = one.details(labels, times, offsets, np.arange(6))
    monkeypatch.setattr(scorers, "_WINDOW", window)
    cut = one.surprise(labels, times, offsets)
    np.testing.assert_allclose(cut.label, whole.label, atol=1e-5)
    np.testing.assert_allclose(cut.time, whole.time, atol=1e-5)
    for before, after in zip(details, one.details(labels, times, offsets, np.arange(6)), strict=True):
        np.testing.assert_allclose(after.mixture, before.mixture, atol=1e-5)
        np.testing.assert_array_equal(after.rank, before.rank)


def test_details_agree_with_surprises(one):
    labels, times, offsets = columns([5, 30, 1, 12])
    found = one.surprise(labels, times, offsets, ranks=True)
    traces = np.array([3, 0, 1])
    for trace, details in zip(traces.tolist(), one.details(labels, times, offsets, traces), strict=True):
        rows = slice(found.offsets[trace], found.offsets[trace + 1])
        came = np.append(labels[offsets[trace] : offsets[trace + 1]], 0)
        time = np.append(times[offsets[trace] : offsets[trace + 1]], 0)
        assert len(details.rank) == len(details.top) == len(details.mixture) == len(came)
        np.testing.assert_array_equal(details.rank, found.rank[rows])
        assert (np.diff(details.probability, axis=1) <= 0).all()
        for position, label in enumerate(came.tolist()):
            probability = np.exp(-found.label[rows][position])
            if details.rank[position] < 3:
                assert details.top[position][details.rank[position]] == label
                assert details.probability[position][details.rank[position]] == pytest.approx(probability, abs=1e-5)
            else:
                assert label not in details.top[position]
                assert probability <= details.probability[position][-1] + 1e-6
        weight, mean, scale = np.split(details.mixture.astype(float), 3, axis=1)
        np.testing.assert_allclose(np.exp(weight).sum(axis=1), 1.0, atol=1e-5)
        survival = (np.exp(weight) / (1 + np.exp((time[:, None] - mean) / np.exp(scale)))).sum(axis=1)
        np.testing.assert_allclose(found.time[rows][:-1], -np.log(survival)[:-1], atol=1e-4)


def test_probabilities_of_all_labels_sum_to_one(one):
    labels, times, _ = columns([6])
    total = 0.0
    for label in range(1, LABELS):
        tried = np.append(labels[:5], label)
        total += np.exp(-one.surprise(tried, times, np.array([0, 6])).label[5])
    total += np.exp(-one.surprise(labels[:5], times[:5], np.array([0, 5])).label[5])
    assert total == pytest.approx(1.0, abs=1e-5)


def test_labels_beyond_the_classes_count_as_rare():
    architecture = Architecture(labels=MOST_CLASSES + 30, **SIZES)
    many = Scorer(random_network(architecture), state=architecture.state, labels=architecture.labels, provider="cpu")
    before, times, offsets = np.array([5, 9, MOST_CLASSES + 7]), np.zeros(4), np.array([0, 4])

    def said(label: int) -> tuple:
        labels = np.append(before, label)
        found, (details,) = many.surprise(labels, times, offsets), many.details(labels, times, offsets, np.array([0]))
        return found.label[3], found.time[3], details

    last = {label: said(label) for label in (RARE_ID, MOST_CLASSES - 1, MOST_CLASSES, MOST_CLASSES + 29)}
    rare, *_ = last.values()
    for label in (MOST_CLASSES, MOST_CLASSES + 29):
        surprise, time, details = last[label]
        assert surprise == pytest.approx(rare[0], abs=1e-6)
        assert details.rank[3] == rare[2].rank[3]
        assert time != rare[1], "its time is its own"
    assert last[MOST_CLASSES - 1][0] != pytest.approx(rare[0], abs=1e-6)
    probabilities = sum(np.exp(-said(label)[0]) for label in range(1, MOST_CLASSES))
    end = np.exp(-many.surprise(before, times[:3], np.array([0, 3])).label[3])
    assert probabilities + end == pytest.approx(1.0, abs=1e-4)


def test_nothing_to_score(one):
    found = one.surprise(np.zeros(0, np.int64), np.zeros(0), np.zeros(1, np.int64))
    assert len(found.label) == len(found.time) == 0
    assert one.details(np.zeros(0, np.int64), np.zeros(0), np.zeros(1, np.int64), np.zeros(0, np.int64)) == []
    only_ends = one.surprise(np.zeros(0, np.int64), np.zeros(0), np.zeros(3, np.int64))
    assert len(only_ends.label) == 2


@pytest.mark.parametrize(
    "content", [b"", b"not a network", NETWORK[: len(NETWORK) // 2], onnx.ModelProto().SerializeToString()]
)
def test_what_is_no_network_is_refused(content):
    with pytest.raises(ArtifactError, match=r"model\.onnx: (ONNX Runtime cannot run it|it is no ONNX model)"):
        Scorer(content, state=ARCHITECTURE.state, provider="cpu")


def test_a_network_of_another_shape_is_refused():
    for options in ({"state": ARCHITECTURE.state + 1}, {"labels": LABELS + 1}):
        with pytest.raises(ArtifactError, match=r"model\.onnx"):
            scorer(**options)
    other = onnx.load_from_string(NETWORK)
    for output in other.graph.output:
        if output.name == "label_surprise":
            output.name = "surprise"
    for node in other.graph.node:
        node.output[:] = ["surprise" if name == "label_surprise" else name for name in node.output]
    with pytest.raises(ArtifactError, match="label_surprise"):
        Scorer(other.SerializeToString(), state=ARCHITECTURE.state, provider="cpu")


def test_outputs_of_another_shape_are_refused(one):
    with pytest.raises(ValueError, match="label_surprise has shape"):
        one._try_out(LABELS, lambda outputs, _: [np.zeros((1, 1)) for _ in outputs])


@pytest.fixture
def on_cuda(monkeypatch):
    """A scorer as on CUDA, the CPU provider under it; gives what runs it, too."""
    cuda, made = cuda_on_host()
    monkeypatch.setattr(onnx_sessions, "cuda", cuda)
    return scorer(provider="cuda"), made[0][1]


def test_as_on_cuda_it_says_the_same_in_few_runs(one, on_cuda):
    labels, times, offsets = columns([*range(60), *[3] * 200, 1100, 2000], seed=3)
    found, runtime = on_cuda
    runtime.rows.clear()
    here, there = (each.surprise(labels, times, offsets, ranks=True) for each in (found, one))
    np.testing.assert_allclose(here.label, there.label, atol=1e-5)
    np.testing.assert_allclose(here.time, there.time, atol=1e-5)
    np.testing.assert_allclose(here.long, there.long, atol=1e-3)
    np.testing.assert_array_equal(here.rank, there.rank)
    assert len(runtime.rows) <= 12  # each shape once more than needed, to learn what comes out
    before = len(runtime.rows)
    found.surprise(labels, times, offsets, ranks=True)
    assert len(runtime.rows) - before <= 6
    traces = np.array([261, 5, 260])
    for mine, theirs in zip(*(each.details(labels, times, offsets, traces) for each in (found, one)), strict=True):
        np.testing.assert_array_equal(mine.rank, theirs.rank)
        np.testing.assert_allclose(mine.mixture, theirs.mixture, atol=1e-4)


def test_a_scorer_whose_gpu_fails_goes_on_as_on_the_cpu(one, monkeypatch):
    cuda, made = cuda_on_host(lambda number, rows: "CUDA failure 700" if number > 6 else None)
    monkeypatch.setattr(onnx_sessions, "cuda", cuda)
    found = scorer(provider="cuda")
    labels, times, offsets = columns([*range(60), 1100], seed=4)
    for _ in range(3):
        here, there = (each.surprise(labels, times, offsets) for each in (found, one))
        np.testing.assert_allclose(here.label, there.label, atol=1e-5)
        np.testing.assert_allclose(here.time, there.time, atol=1e-5)
    assert (found.execution_provider, found.trouble) == ("cpu", "CUDA failure 700")
    assert len(made[0][1].rows) == 8
