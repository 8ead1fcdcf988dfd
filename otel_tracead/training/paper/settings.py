"""The YAML of `train --preset paper --config`: the paper's choices as defaults, and what it leaves open."""

from typing import Annotated, Literal

from pydantic import Field

from otel_tracead.detection.paper import CONFIDENCE, TOP_K
from otel_tracead.traces.labels import PAPER_TEMPLATE
from otel_tracead.traces.windows import EACH, LENGTH, SHORTEST
from otel_tracead.training.settings import CalibrationSection, Config, LabelsSection, Positive, Section

Length = Annotated[int, Field(ge=2, le=1000)]


class PaperLabels(LabelsSection):
    """How spans are named, and which names are learned."""

    template: str = PAPER_TEMPLATE
    callee: bool = False
    order: Literal["tree", "start"] = "start"
    max_labels: Positive = 500


class PaperModel(Section):
    """The name of the model, and the shape of the multimodal LSTM.

    Attributes:
        name: without it the name of the output folder.
        version: without it made of the checksum of the content.
        length: events of a trace that are read, the paper's `T_l`; what stands behind them is not judged.
        units: width of each LSTM layer.
        join: the layer in which labels and response times join: the first reads both, the second does (the paper), or
            each has two of its own and the heads read both.
    """

    name: str | None = None
    version: str | None = None
    length: Length = LENGTH
    units: Annotated[int, Field(gt=0, le=4096)] = 64
    join: Literal["first", "second", "heads"] = "second"


class PaperTraining(Section):
    """How the network is fitted, and to what.

    Attributes:
        epochs: at most.
        batch: traces in a step.
        learning_rate: constant.
        patience: epochs without a better held-out loss before it stops. The paper does not stop early.
        seed: of everything random.
        traces_per_length: traces of each length to learn from, all where there are fewer; longer ones than
            `model::length` are cut and count as of that length.
        shortest: traces with fewer spans are not learned from.
        max_spans: beyond it a random part of the traces is used.
        device: where it is fitted; `auto` takes CUDA when it is there.
    """

    epochs: Positive = 400
    batch: Positive = 512
    learning_rate: Annotated[float, Field(gt=0)] = 0.001
    patience: Positive = 20
    seed: Annotated[int, Field(ge=0)] = 0
    traces_per_length: Positive = EACH
    shortest: Positive = SHORTEST
    max_spans: Positive = 4_000_000
    device: Literal["auto", "cpu", "cuda"] = "auto"


class PaperCalibration(CalibrationSection):
    """The paper's two rules.

    Attributes:
        false_positive_rate: only places the scores, so that marked spans reach its threshold; the two rules decide.
        top_k: a label that is not among so many most probable ones is an anomaly.
        confidence: a response time outside this interval of its label's errors is one.
    """

    top_k: Positive = TOP_K
    confidence: Annotated[float, Field(gt=0, lt=1)] = CONFIDENCE


class PaperConfig(Config):
    """Everything that `train --preset paper --config` may say.

    Attributes:
        labels: names of spans.
        model: the network.
        training: the fitting.
        calibration: the rules.
    """

    labels: PaperLabels = PaperLabels()
    model: PaperModel = PaperModel()
    training: PaperTraining = PaperTraining()
    calibration: PaperCalibration = PaperCalibration()
