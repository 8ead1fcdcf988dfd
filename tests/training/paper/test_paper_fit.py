"""The paper's networks in PyTorch: what they are, that ONNX Runtime says the same, and that they learn."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from paper_model import encoded, random_windows
from tiny_model import shop_traces

from otel_tracead.artifact.paper import learn_min_max
from otel_tracead.evaluation.references import NGram
from otel_tracead.traces.windows import Windows, choose_by_length, cut, learn_dictionary
from otel_tracead.training.paper.architecture import Join, Layers, Modality, WindowArchitecture
from otel_tracead.training.paper.cross_validation import Candidate, cross_validate
from otel_tracead.training.paper.models import DESIGNS, Design, WindowModel, runner, train_model
from otel_tracead.training.paper.recipe import WindowRecipe
from otel_tracead.training.side_by_side import side_by_side

pytestmark = pytest.mark.train
torch = pytest.importorskip("torch", reason="training needs the extra `train` (make test-peers)")

ALL = [
    WindowArchitecture(layers=layers, modality=modality, labels=7, units=6, join=join)
    for layers in Layers
    for modality in Modality
    for join in (Join if layers is Layers.LSTM and modality is Modality.BOTH else [Join.SECOND])
]
QUICK = WindowRecipe(epochs=15, batch=64, learning_rate=0.01, patience=15)


@pytest.fixture(scope="module")
def windows():
    """Training and test windows of the simulated shop, and the size of their dictionary."""
    parts = [encoded(shop_traces(seed=seed, duration_s=60.0)) for seed in (1, 2)]
    dictionary = learn_dictionary(parts[0], max_labels=100)
    found = []
    for part in parts:
        chosen = choose_by_length(np.diff(part.offsets), np.random.default_rng(0), each=40, longer=True)
        found.append(cut(part, dictionary).take(chosen))
    return *found, len(dictionary)


def train_models(
    windows: Windows,
    labels: int,
    recipe: WindowRecipe,
    units: int,
    designs: Sequence[Design] = DESIGNS,
    workers: int = 1,
) -> list[WindowModel]:
    length = windows.label.shape[1]
    shapes = [(design.name, design.architecture(labels, length, units, Join.SECOND)) for design in designs]
    pieces = [partial(train_model, name, windows, architecture, recipe) for name, architecture in shapes]
    return side_by_side(pieces, lambda _share: None, workers)


@pytest.fixture(scope="module")
def models(windows):
    return {model.name: model for model in train_models(windows[0], windows[2], QUICK, units=24)}


@pytest.mark.parametrize("architecture", ALL, ids=[f"{one.layers}-{one.modality}-{one.join}" for one in ALL])
def test_onnx_runtime_says_what_pytorch_says(architecture):
    from otel_tracead.training.paper.agreement import largest_difference
    from otel_tracead.training.paper.graph import build
    from otel_tracead.training.paper.networks import network

    torch.manual_seed(0)
    fitted = network(architecture).eval()
    encoded_graph = build({key: value.numpy() for key, value in fitted.state_dict().items()}, architecture)
    windows = random_windows(30, 7)
    scale = learn_min_max(windows, 7)
    assert largest_difference(fitted, runner(encoded_graph, architecture), windows, scale) < 1e-5


def test_the_lstm_is_pytorchs_own_on_one_hot_labels():
    from otel_tracead.training.paper.networks import _Lstm

    layer = _Lstm(1, 5, labels=7)
    own = torch.nn.LSTM(8, 5, batch_first=True)
    own.load_state_dict(layer.state_dict())
    labels, times = torch.randint(0, 7, (4, 20)), torch.randn(4, 20, 1)
    joined = torch.cat((torch.nn.functional.one_hot(labels, 7).float(), times), -1)
    torch.testing.assert_close(layer(times, labels), own(joined)[0])


def test_the_dense_network_reads_the_window_padded_with_zeros():
    from otel_tracead.training.paper.networks import network

    architecture = ALL[-1]
    assert (architecture.layers, architecture.modality) == (Layers.DENSE, Modality.BOTH)
    dense = network(architecture)
    labels, times = torch.randint(0, 7, (4, 20)), torch.randn(4, 20)
    found = dense(labels, times)
    one_hot = torch.nn.functional.one_hot(labels, 7).float()
    for at in (0, 5, 19):
        shown = (torch.arange(20) <= at).float()
        by_label = dense.label_first((one_hot * shown[None, :, None]).flatten(1))
        by_time = dense.time_first(times * shown)
        joined = torch.relu(torch.cat((by_label, by_time), -1))
        torch.testing.assert_close(found.logits[:, at], dense.label_head(torch.relu(dense.label_second(joined))))
        time = dense.time_head(torch.relu(dense.time_second(joined)))[:, 0]
        torch.testing.assert_close(found.time[:, at], time)


def test_structure_is_learned(models, windows):
    """Floors that a network which guesses, or names the most frequent label always, fails by far (1 and 10 %)."""
    training, test, labels = windows
    here = test.forecast
    counted = np.bincount(training.following[0][training.forecast], minlength=labels)
    always = (test.following[0][here] == counted.argmax()).mean()
    assert always < 0.35
    pairs = (NGram(training, labels, 2).forecast(test).rank[here] == 0).mean()
    for name in ("single LSTM, structure", "multimodal LSTM", "single dense, structure", "multimodal dense"):
        found = models[name].forecast(test)
        first = (found.rank[here] == 0).mean()
        assert first > max(pairs, 0.6), name
        assert (found.rank[here] < 3).mean() > 0.9, name
        assert found.top.shape == (*test.label.shape, 5)
        np.testing.assert_array_equal(found.top[here][:, 0] == test.following[0][here], found.rank[here] == 0)


def test_times_are_learned(models, windows):
    training, test, labels = windows
    slow = replace(test, time_ms=test.time_ms.copy())
    rows, random = np.arange(len(test)), np.random.default_rng(0)
    position = random.integers(1, test.length)
    slow.time_ms[rows, position] *= random.uniform(3, 6, len(test))
    for name in ("single LSTM, response time", "multimodal LSTM", "single dense, response time", "multimodal dense"):
        clean, found = models[name].forecast(test).deviation, models[name].forecast(slow).deviation
        outside = (models[name].forecast(training).deviation[training.followed] > 1.96).mean()
        assert 0.005 < outside < 0.08, f"{name}: the Gaussian is of its own errors"
        marked = (clean[test.followed] > 1.96).mean()
        recall = (found[rows, position - 1] > 1.96).mean()
        assert recall > 2 * marked + 0.1, f"{name}: {recall:.2f} of the slow ones, {marked:.2f} of all"
        scale = learn_min_max(training, labels)
        spread = scale.scale(training.time_ms, training.label)[training.inside].var()
        assert models[name].squared_error(test) < 1.5 * spread


def test_models_say_how_they_were_fitted(models):
    assert list(models) == [design.name for design in DESIGNS]
    for design in DESIGNS:
        model = models[design.name]
        assert model.seconds > 0
        assert 1 <= model.epochs <= QUICK.epochs
        assert model.difference < 1e-5
        found = model.forecast(random_windows(3, 9))
        assert (found.rank is None) == (design.modality is Modality.TIME)
        assert (found.deviation is None) == (design.modality is Modality.STRUCTURE)


def test_the_same_seed_gives_the_same_network_in_any_process(windows):
    training, _, labels = windows
    some = training.take(np.arange(0, len(training), 4))
    recipe = replace(QUICK, epochs=2)
    designs = [DESIGNS[2], DESIGNS[5]]
    here = train_models(some, labels, recipe, designs=designs, units=4)
    there = train_models(some, labels, recipe, designs=designs, units=4, workers=2)
    other = train_models(some, labels, replace(recipe, seed=1), designs=designs, units=4)
    assert [one.network for one in here] == [one.network for one in there]
    assert all(one.network != another.network for one, another in zip(here, other, strict=True))


def test_fitting_stops_when_held_out_traces_do_not_get_better():
    from otel_tracead.training.paper.fit import fit

    windows = random_windows(40, 5)
    recipe = WindowRecipe(epochs=200, batch=16, learning_rate=0.05, patience=3, held_out=0.3)
    told: list[float] = []
    architecture = WindowArchitecture(layers=Layers.DENSE, modality=Modality.BOTH, labels=5)
    found = fit(windows, learn_min_max(windows, 5), architecture, recipe, told.append)
    assert found.epochs < 200, "there is nothing to learn in noise"
    assert np.isfinite(found.loss.total)
    assert told[-1] == 1.0


def test_cross_validation_puts_the_better_candidate_first(windows):
    training, _, labels = windows
    candidates = [Candidate(1, Join.SECOND), Candidate(24, Join.SECOND)]
    found = cross_validate(training, labels, candidates, replace(QUICK, epochs=10), folds=2)
    assert [one.candidate.units for one in found] == [24, 1]
    for one in found:
        assert one.accuracy.shape == one.squared_error.shape == one.seconds.shape == (2,)
        assert (one.epochs <= 10).all()
    assert found[0].accuracy.mean() > found[1].accuracy.mean() + 0.1
