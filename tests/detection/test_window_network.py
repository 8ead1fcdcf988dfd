"""ONNX Runtime on the paper's networks with random weights: what must not depend on how windows are put together."""

import numpy as np
import pytest
from paper_model import random_network, random_windows

from otel_tracead.detection import window_network
from otel_tracead.detection.window_network import WindowNetwork
from otel_tracead.errors import ArtifactError
from otel_tracead.training.paper.architecture import Join, Layers, Modality, WindowArchitecture
from otel_tracead.training.paper.models import runner

LABELS = 9
ALL = [
    WindowArchitecture(layers=layers, modality=modality, labels=LABELS, units=6, join=join)
    for layers in Layers
    for modality in Modality
    for join in (Join if layers is Layers.LSTM and modality is Modality.BOTH else [Join.SECOND])
]
NAMES = [f"{one.layers}-{one.modality}-{one.join}" for one in ALL]
WINDOWS = random_windows(40, LABELS, seed=3)
FOLLOWING, _ = WINDOWS.following


def outputs(network: WindowNetwork, label: np.ndarray, following: np.ndarray, scaled: np.ndarray) -> list[np.ndarray]:
    found = network.look(label, following, scaled)
    every = (found.rank, found.probability, found.top, found.top_probability, found.time)
    return [one for one in every if one is not None]


@pytest.mark.parametrize("architecture", ALL, ids=NAMES)
def test_no_network_sees_what_it_has_to_forecast(architecture):
    network = runner(random_network(architecture), architecture)
    scaled = np.where(WINDOWS.inside, WINDOWS.time_ms, 0.0)
    before = network.look(WINDOWS.label, FOLLOWING, scaled)
    random = np.random.default_rng(0)
    for at in (0, 1, 7, 18):
        label, times = WINDOWS.label.copy(), scaled.copy()
        label[:, at + 1 :] = random.integers(0, LABELS, label[:, at + 1 :].shape)
        times[:, at + 1 :] = random.normal(0, 3, times[:, at + 1 :].shape)
        after = network.look(label, FOLLOWING, times)
        shown = slice(0, at + 1)
        if architecture.reads_labels:
            np.testing.assert_allclose(after.top_probability[:, shown], before.top_probability[:, shown], atol=1e-6)
            np.testing.assert_array_equal(after.rank[:, shown][:, :-1], before.rank[:, shown][:, :-1])
            assert not np.allclose(after.top_probability[:, at + 1 :], before.top_probability[:, at + 1 :])
        if architecture.reads_times:
            np.testing.assert_allclose(after.time[:, shown], before.time[:, shown], atol=1e-6)
            assert not np.allclose(after.time[:, at + 1 :], before.time[:, at + 1 :])


@pytest.mark.parametrize("architecture", ALL, ids=NAMES)
def test_a_network_reads_its_modalities_and_gives_their_forecasts(architecture):
    network = runner(random_network(architecture), architecture)
    found = network.look(WINDOWS.label, FOLLOWING, WINDOWS.time_ms)
    assert (found.rank is not None) == architecture.reads_labels
    assert (found.time is not None) == architecture.reads_times
    if found.rank is not None:
        assert (np.diff(found.top_probability, axis=-1) <= 0).all()
        at = np.take_along_axis(found.top, np.minimum(found.rank, 4)[..., None], -1)[..., 0]
        first_five = found.rank < 5
        assert (at == FOLLOWING)[first_five].all()
        assert not (found.top == FOLLOWING[..., None]).any(-1)[~first_five].any()
        total = sum(
            network.look(WINDOWS.label, np.full_like(FOLLOWING, label), WINDOWS.time_ms).probability[:, -1]
            for label in range(LABELS)
        )
        np.testing.assert_allclose(total, 1.0, atol=1e-5)


@pytest.mark.parametrize("architecture", ALL, ids=NAMES)
def test_other_windows_in_a_batch_change_nothing(architecture, monkeypatch):
    whole = outputs(runner(random_network(architecture), architecture), WINDOWS.label, FOLLOWING, WINDOWS.time_ms)
    monkeypatch.setattr(window_network, "_CELLS", 1)
    monkeypatch.setattr(window_network, "_FEWEST", 3)
    parts = outputs(runner(random_network(architecture), architecture), WINDOWS.label, FOLLOWING, WINDOWS.time_ms)
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_nothing_to_look_at_and_times_out_of_this_world():
    architecture = ALL[NAMES.index("lstm-both-second")]
    network = runner(random_network(architecture), architecture)
    none = WINDOWS.take(np.zeros(0, np.int64))
    assert [len(one) for one in outputs(network, none.label, none.following[0], none.time_ms)] == [0] * 5
    far = network.look(WINDOWS.label, FOLLOWING, np.where(WINDOWS.inside, 1e300, -1e300))
    assert np.isfinite(far.time).all()
    assert np.isfinite(far.probability).all()


def test_a_network_that_is_not_the_manifests_is_refused():
    architecture = ALL[NAMES.index("lstm-both-second")]
    encoded = random_network(architecture)
    for wrong in (b"", b"no network", encoded[:-20]):
        with pytest.raises(ArtifactError, match=r"model\.onnx"):
            WindowNetwork(wrong, labels=LABELS, length=20)
    alone = ALL[NAMES.index("lstm-structure-second")]
    with pytest.raises(ArtifactError, match=r"model\.onnx"):
        WindowNetwork(random_network(alone), labels=LABELS, length=20)
    dense = ALL[NAMES.index("dense-both-second")]
    with pytest.raises(ArtifactError, match=r"model\.onnx"):
        WindowNetwork(random_network(dense), labels=LABELS + 1, length=20)
