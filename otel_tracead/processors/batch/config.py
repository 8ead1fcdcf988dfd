"""What a user may write for `batch`."""

from typing import Annotated, Any

from pydantic import model_validator

from otel_tracead.component import ComponentConfig
from otel_tracead.config_types import Duration, NotHere, Size, WithoutEffect


class BatchConfig(ComponentConfig):
    """Keys and defaults are the Collector's.

    Attributes:
        send_batch_size: spans at which a batch is sent; 0 = at once.
        timeout: age at which a batch is sent, whatever its size; 0 = at once.
        send_batch_max_size: no batch has more spans than this; 0 = no bound.
    """

    send_batch_size: Size = 8192
    timeout: Duration = 0.2
    send_batch_max_size: Size = 0
    metadata_keys: Annotated[
        Any, NotHere("the metadata of requests ends at the receiver; make a pipeline for each of them instead")
    ] = None
    metadata_cardinality_limit: Annotated[Size | None, WithoutEffect("metadata_keys is not here")] = None

    @model_validator(mode="after")
    def _max_at_least_size(self) -> "BatchConfig":
        if 0 < self.send_batch_max_size < self.send_batch_size:
            raise ValueError("send_batch_max_size must be greater or equal to send_batch_size")
        return self
