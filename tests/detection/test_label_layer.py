"""The layer of labels by itself: the network says the same with it as in one piece, however much is remembered."""

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_model import SIZES, random_network

from otel_tracead.detection import label_layer
from otel_tracead.detection.graph_by_step import GIVEN, by_step
from otel_tracead.detection.graph_cut import cut
from otel_tracead.detection.label_layer import LabelLayer
from otel_tracead.detection.packing import Fit
from otel_tracead.detection.scorer import OUTPUTS, Scorer
from otel_tracead.training.architecture import Architecture

LABELS = 6
ARCHITECTURE = Architecture(labels=LABELS, **SIZES)
NETWORK = random_network(ARCHITECTURE)
HALF = {"of": {"labels", "state"}, "outputs": OUTPUTS[:4]}


def scorer(network: bytes = NETWORK) -> Scorer:
    return Scorer(network, state=ARCHITECTURE.state, labels=LABELS, provider="cpu")


def whole() -> Scorer:
    one = scorer()
    one._label_layer = None
    return one


@pytest.fixture(scope="module")
def pair() -> tuple[Scorer, Scorer]:
    return scorer(), whole()


def columns(sequences: list[list[int]], seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    labels = np.array([label for sequence in sequences for label in sequence], np.int64)
    times = np.random.default_rng(seed).normal(0, 2, len(labels))
    return labels, times, np.cumsum([0, *map(len, sequences)])


@given(
    batches=st.lists(st.lists(st.lists(st.integers(1, LABELS - 1), max_size=4), max_size=12), min_size=1, max_size=4),
    room=st.sampled_from([1, 20, 1000]),
    cells=st.sampled_from([5, 2048]),
    ranks=st.booleans(),
)
def test_it_says_what_the_whole_network_says(pair, batches, room, cells, ranks):
    cut_, one = pair
    cut_._fits = one._fits = {"cpu": Fit(cells)}
    layer = cut_._label_layer
    layer._room = room
    layer._forget()
    largest = room
    for seed, sequences in enumerate(batches):
        given_ = columns(sequences, seed)
        found, expected = cut_.surprise(*given_, ranks=ranks), one.surprise(*given_, ranks=ranks)
        for name in ("label", "time", "long"):
            np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(found.rank, expected.rank)
        chosen = np.arange(len(sequences))[::-1]
        pairs = zip(cut_.details(*given_, chosen), one.details(*given_, chosen), strict=True)
        for details, expected_details in pairs:
            np.testing.assert_allclose(details.mixture, expected_details.mixture, atol=1e-5)
            np.testing.assert_array_equal(details.rank, expected_details.rank)
        largest = max(largest, sum(len(sequence) + 1 for sequence in sequences))
        assert layer._used <= largest
        assert layer._states is None or len(layer._states) <= largest


def test_a_sequence_is_worked_out_once(pair, monkeypatch):
    one = pair[0]
    layer = one._label_layer
    layer._forget()
    runs = []
    first = layer._first
    monkeypatch.setattr(layer, "_first", lambda *given: runs.append(given[1]["labels"]) or first(*given))
    for seed in range(3):
        one.surprise(*columns([[1, 2, 3]] * 20 + [[1, 2]] * 20, seed))
    assert sum(map(len, runs)) == 2


def test_what_differs_in_one_place_is_not_mixed_up(pair):
    one, other = pair
    random = np.random.default_rng(0)
    sequences = random.integers(1, LABELS, (300, 9)).tolist()
    given_ = columns(sequences, 1)
    np.testing.assert_allclose(one.surprise(*given_).label, other.surprise(*given_).label, atol=1e-6)


def test_long_traces_are_run_in_windows():
    one, other = scorer(), whole()
    given_ = columns([[1, 2, 3] * 500, [1, 2], [3] * label_layer.LONGEST, [3] * (label_layer.LONGEST - 1)], 2)
    found, expected = one.surprise(*given_), other.surprise(*given_)
    np.testing.assert_allclose(found.label, expected.label, atol=1e-5)
    np.testing.assert_allclose(found.time, expected.time, atol=1e-5)


def test_a_failed_run_leaves_no_trace(pair, monkeypatch):
    one = pair[0]
    layer = one._label_layer
    layer._forget()

    def fails(*_given: object) -> list:
        raise RuntimeError("no memory")

    with monkeypatch.context() as patch:
        patch.setattr(layer, "_first", fails)
        with pytest.raises(RuntimeError):
            one.surprise(*columns([[1, 2, 3]], 0))
    given_ = columns([[1, 2, 3]], 0)
    np.testing.assert_allclose(one.surprise(*given_).label, pair[1].surprise(*given_).label, atol=1e-6)


def test_both_halves_are_valid_models():
    halves = cut(NETWORK, "label_out", **HALF)
    for half in (*halves, by_step(halves.second)):
        onnx.checker.check_model(onnx.load_from_string(half))
    sizes = [len(onnx.load_from_string(one).graph.node) for one in (by_step(halves.second), halves.second, NETWORK)]
    assert sizes == sorted(set(sizes))


def test_laid_out_step_by_step_it_needs_no_state_and_turns_nothing_but_components():
    graph = onnx.load_from_string(by_step(cut(NETWORK, "label_out", **HALF).second)).graph
    assert {one.name for one in graph.input} == set(GIVEN)
    (lstm,) = (node for node in graph.node if node.op_type == "LSTM")
    assert len(lstm.input) == 5
    assert [node.input[0] for node in graph.node if node.op_type == "Transpose"] == ["numbers_product"]


@pytest.mark.parametrize("missing", ["joined_by_step", "times_came", "log_scale", "joined"])
def test_what_has_not_our_tensors_is_not_laid_out(missing):
    model = onnx.load_from_string(cut(NETWORK, "label_out", **HALF).second)
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = ["other" if name == missing else name for name in names]
    assert by_step(model.SerializeToString()) is None
    assert by_step(b"no model") is None


@pytest.mark.parametrize("tensor", ["time_out", "nothing", "labels", "state_out"])
def test_what_is_not_made_of_labels_is_not_cut_out(tensor):
    assert cut(NETWORK, tensor, **HALF) is None


@pytest.mark.parametrize("model", [b"no model", NETWORK[: len(NETWORK) // 2]])
def test_what_is_no_model_is_not_cut(model):
    assert cut(model, "label_out", **HALF) is None


def test_a_network_that_only_looks_like_ours_runs_whole():
    model = onnx.load_from_string(NETWORK)
    for node in model.graph.node:  # somebody else's name for something else
        node.input[:] = ["label_out" if one == "label_lookalike" else one for one in node.input]
        if "label_out" in node.output:
            node.output[0] = "label_real"
    for node in model.graph.node:
        node.input[:] = ["label_real" if one == "label_out" else one for one in node.input]
    model.graph.node.append(onnx.helper.make_node("Transpose", ["embedded"], ["label_out"], perm=[1, 0, 2]))
    network = model.SerializeToString()
    one = scorer(network)
    given_ = columns([[1, 2, 3], [4]], 0)
    np.testing.assert_allclose(one.surprise(*given_).label, whole().surprise(*given_).label, atol=1e-6)


def test_a_half_that_does_not_run_is_left_alone(monkeypatch):
    def fails(*_given: object) -> object:
        raise RuntimeError("no")

    monkeypatch.setattr(LabelLayer, "of", fails)
    assert scorer()._label_layer is None
