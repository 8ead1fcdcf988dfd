"""What a user writes for the `debug` exporter; keys and defaults are the Collector's."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from otel_tracead.component import ComponentConfig
from otel_tracead.config_types import AnyCase, PositiveSize, WithoutEffect


class DebugConfig(ComponentConfig):
    """The `debug` exporter.

    Attributes:
        verbosity: `basic`: one line a batch with its counts; `normal`: and one line a span; `detailed`: everything.
        sampling_initial: batches said in each second before sampling begins.
        sampling_thereafter: of those beyond, each how manieth is said.
        use_internal_logger: say it in the service's log.
        output_paths: otherwise, where to.
    """

    verbosity: Annotated[Literal["basic", "normal", "detailed"], AnyCase()] = "basic"
    sampling_initial: PositiveSize = 2
    sampling_thereafter: PositiveSize = 1
    use_internal_logger: bool = True
    output_paths: Annotated[tuple[Literal["stdout", "stderr"], ...], Field(strict=False)] = ("stdout",)
    sending_queue: Annotated[dict[str, Any] | None, WithoutEffect("lines are written at once")] = None

    @model_validator(mode="after")
    def _paths_without_logger(self) -> Self:
        if "output_paths" in self.model_fields_set and self.output_paths and self.use_internal_logger:
            raise ValueError("output_paths is not supported when use_internal_logger is true")
        if not self.output_paths and not self.use_internal_logger:
            raise ValueError("output_paths must not be empty when use_internal_logger is false")
        return self
