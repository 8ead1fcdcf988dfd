"""What a user writes for the `debug` exporter; keys and defaults are the Collector's."""

from typing import Annotated, Literal

from pydantic import Field

from otel_tracead.component import ComponentConfig
from otel_tracead.config_types import PositiveSize


class DebugConfig(ComponentConfig):
    """The `debug` exporter.

    Attributes:
        verbosity: `basic`: one line a batch with its counts; `normal`: and one line a span; `detailed`: everything.
        sampling_initial: batches said in each second before sampling begins.
        sampling_thereafter: of those beyond, each how manieth is said.
        use_internal_logger: say it in the service's log.
        output_paths: otherwise, where to.
    """

    verbosity: Literal["basic", "normal", "detailed"] = "basic"
    sampling_initial: PositiveSize = 2
    sampling_thereafter: PositiveSize = 1
    use_internal_logger: bool = True
    output_paths: Annotated[tuple[Literal["stdout", "stderr"], ...], Field(strict=False)] = ("stdout",)
