"""The network in PyTorch and as an ONNX graph: the same numbers, also for labels without a class of their own."""

import numpy as np
import pytest

pytestmark = pytest.mark.train
torch = pytest.importorskip("torch", reason="training needs the extra `train` (make test-peers)")

from otel_tracead.training import onnx_graph  # noqa: E402 (needs torch)
from otel_tracead.training.agreement import largest_difference  # noqa: E402
from otel_tracead.training.architecture import MOST_CLASSES, Architecture  # noqa: E402
from otel_tracead.training.network import MultimodalLstm  # noqa: E402
from otel_tracead.training.recipe import Sequenced  # noqa: E402


@pytest.mark.parametrize("labels", [12, MOST_CLASSES, MOST_CLASSES + 40])
@pytest.mark.parametrize("components", [1, 4])
def test_both_forms_say_the_same(labels, components):
    torch.manual_seed(1)
    architecture = Architecture(labels=labels, components=components)
    network = MultimodalLstm(architecture).eval()
    with torch.no_grad():  # as large as those that were learned
        for parameter in network.parameters():
            parameter.mul_(3.0)
    weights = {name: value.numpy() for name, value in network.state_dict().items()}
    random, lengths = np.random.default_rng(0), [1, 7, 30, 2, 60]
    total = sum(lengths)
    data = Sequenced(random.integers(1, labels, total), random.normal(0, 3, total), np.cumsum([0, *lengths]))
    encoded = onnx_graph.build(weights, architecture)
    assert largest_difference(network, encoded, data, np.arange(len(lengths))) < 1e-4
