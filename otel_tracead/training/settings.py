"""The YAML of `train --config`: `labels`, `model`, `training`, `calibration`."""

from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from otel_tracead.errors import ConfigError
from otel_tracead.traces.labels import DEFAULT_PATTERNS, DEFAULT_TEMPLATE, LabelTemplate
from otel_tracead.traces.sequences import Order

Positive = Annotated[int, Field(gt=0)]


class Section(BaseModel):
    """A part of the YAML: no unknown keys, no conversions."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class LabelsSection(Section):
    """How spans are named, and which names are learned.

    Attributes:
        template: the label: text with `{service}`, `{kind}`, `{name}`, `{status}`, `{attribute.KEY}`, `{resource.KEY}`;
            of several in one, `{A|B}`, the first that a span has.
        patterns: regular expressions whose matches in a name become `{id}`.
        callee: whether the label of a call names the service called.
        order: of a trace's events: by the tree of calls, or by start time as in the paper.
        max_labels: labels with an index of their own; the rest share one.
        min_count: how often a label must come for that.
    """

    template: str = DEFAULT_TEMPLATE
    patterns: list[str] = list(DEFAULT_PATTERNS)
    callee: bool = True
    order: Literal["tree", "start"] = "tree"
    max_labels: Positive = 2000
    min_count: Positive = 5


class ModelSection(Section):
    """The name of the model, and the sizes of its network.

    Attributes:
        name: without it the name of the output folder.
        version: without it made of the checksum of the content.
        embedding: numbers that a label becomes.
        label_units: width of the LSTM that reads labels.
        time_units: width of the LSTM that reads labels and response times.
        head_units: hidden units of the response-time head.
        components: distributions in its mixture.
    """

    name: str | None = None
    version: str | None = None
    embedding: Positive | None = None
    label_units: Positive | None = None
    time_units: Positive | None = None
    head_units: Positive | None = None
    components: Positive | None = None


class TrainingSection(Section):
    """How the network is fitted.

    Attributes:
        epochs: at most.
        steps: of the optimizer, where epochs does not say how many rounds.
        batch: traces in a step.
        learning_rate: the highest of the cycle.
        patience: epochs without a better held-out loss before it stops.
        seed: of everything random.
        folds: blocks of time that the thresholds are cross-fitted over.
        max_spans: beyond it a random part of the traces is used.
        device: where it is fitted; `auto` takes CUDA when it is there.
    """

    epochs: Positive | None = None
    steps: Positive | None = None
    batch: Positive | None = None
    learning_rate: Annotated[float, Field(gt=0)] | None = None
    patience: Positive | None = None
    seed: Annotated[int, Field(ge=0)] = 0
    folds: Annotated[int, Field(ge=2, le=20)] = 3
    max_spans: Positive = 4_000_000
    device: Literal["auto", "cpu", "cuda"] = "auto"


class CalibrationSection(Section):
    """What the thresholds are calibrated to.

    Attributes:
        false_positive_rate: the share of normal traces that may be marked.
    """

    false_positive_rate: Annotated[float, Field(gt=0, lt=0.5)] = 0.01


class Config(Section):
    """What every preset's YAML says.

    Attributes:
        labels: names of spans.
    """

    labels: LabelsSection = LabelsSection()

    def template(self) -> LabelTemplate:
        """Give the label template.

        Raises:
            ValueError: it cannot be used; says why.
        """
        return LabelTemplate(self.labels.template, tuple(self.labels.patterns), self.labels.callee)

    def order(self) -> Order:
        """Give the order of events."""
        return Order(self.labels.order)


class TrainConfig(Config):
    """Everything that `train --config` may say.

    Attributes:
        labels: names of spans.
        model: the network.
        training: the fitting.
        calibration: the thresholds.
    """

    labels: LabelsSection = LabelsSection()
    model: ModelSection = ModelSection()
    training: TrainingSection = TrainingSection()
    calibration: CalibrationSection = CalibrationSection()


AnyConfig = TypeVar("AnyConfig", bound=Config)


def load(path: Path | None) -> TrainConfig:
    """Read the YAML of the default preset; see `load_as`."""
    return load_as(path, TrainConfig)


def load_as(path: Path | None, schema: type[AnyConfig]) -> AnyConfig:
    """Read the YAML in *path* as *schema*, or give the defaults.

    Raises:
        ConfigError: it is no YAML, or something in it cannot be used; names every problem with its path.
    """
    if path is None:
        return schema()
    try:
        raw: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror or error}"]) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: not YAML: {error}"]) from error
    try:
        config = schema.model_validate(raw or {})
        config.template()
    except ValidationError as error:
        problems = [f"{path}: {'::'.join(str(part) for part in one['loc'])}: {one['msg']}" for one in error.errors()]
        raise ConfigError(problems) from error
    except ValueError as error:
        raise ConfigError([f"{path}: {error}"]) from error
    return config
