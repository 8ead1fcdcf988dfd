"""The sections that every exporter has; keys are those of the Collector's exporterhelper.

One default differs: `max_elapsed_time` is 0, so that nothing is given up because of time alone.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from otel_tracead.component import ComponentConfig
from otel_tracead.config_types import Duration, NotHere, PositiveDuration, PositiveSize, Size, StorageId

Sizer = Literal["requests", "items", "bytes"]
"""What a queue or a batch is measured in: requests, spans, or the bytes of spans."""


class RetryConfig(ComponentConfig):
    """How often and how long a request that may pass later is sent again.

    Attributes:
        enabled: off gives such a request up at once.
        initial_interval: the first wait.
        randomization_factor: each wait is this share longer or shorter, at random.
        multiplier: each wait is this many times the one before.
        max_interval: no wait is longer (but for what the backend asks for).
        max_elapsed_time: after this time the request is given up; 0 for never.
    """

    enabled: bool = True
    initial_interval: PositiveDuration = 5.0
    randomization_factor: Annotated[float, Field(ge=0, le=1)] = 0.5
    multiplier: Annotated[float, Field(ge=1)] = 1.5
    max_interval: PositiveDuration = 30.0
    max_elapsed_time: Duration = 0.0

    @model_validator(mode="after")
    def _time_enough(self) -> Self:
        if self.enabled and self.max_elapsed_time:
            for name, interval in (("initial_interval", self.initial_interval), ("max_interval", self.max_interval)):
                if self.max_elapsed_time < interval:
                    raise ValueError(f"max_elapsed_time must not be less than {name}")
        return self


class PartitionConfig(ComponentConfig):
    """What keeps batches apart."""

    metadata_keys: Annotated[
        Any, NotHere("the metadata of requests ends at the receiver; make an exporter for each of them instead")
    ] = None


class BatchConfig(ComponentConfig):
    """How requests are joined and cut before they are sent.

    Attributes:
        flush_timeout: a request waits no longer than this for others.
        min_size: a batch of this size is sent at once.
        max_size: a larger one is cut; 0 for never.
        sizer: what sizes are measured in; without it that of the queue, where that is not `requests`.
        partition: what keeps batches apart.
    """

    flush_timeout: PositiveDuration = 0.2
    min_size: Size = 8192
    max_size: Size = 0
    sizer: Literal["items", "bytes"] = "items"
    partition: PartitionConfig = PartitionConfig()

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if 0 < self.max_size < self.min_size:
            raise ValueError("max_size must be 0 or at least min_size")
        return self


class QueueConfig(ComponentConfig):
    """The queue between the pipeline and the backend; what is being sent still counts as in it.

    Attributes:
        enabled: off sends before the pipeline goes on, one attempt after another.
        num_consumers: requests under way at a time.
        queue_size: capacity, in what `sizer` says.
        sizer: what `queue_size` is measured in.
        block_on_overflow: a full queue makes the pipeline wait instead of refusing.
        wait_for_result: the pipeline goes on only when the backend took the request or refused it, and hears which.
        batch: join and cut requests; absent leaves them as they come.
        storage: id of an extension such as `file_storage` that keeps the queue on disk: what it took survives the
            process; absent keeps it in memory. `service::extensions` must name it.
    """

    enabled: bool = True
    num_consumers: PositiveSize = 10
    queue_size: PositiveSize = 1000
    sizer: Sizer = "requests"
    block_on_overflow: bool = False
    wait_for_result: bool = False
    batch: BatchConfig | None = None
    storage: StorageId = None

    @model_validator(mode="before")
    @classmethod
    def _sizer_of_the_queue(cls, given: Any) -> Any:
        if not isinstance(given, dict) or given.get("sizer") not in {"items", "bytes"}:
            return given
        batch = given.get("batch")
        return {**given, "batch": {"sizer": given["sizer"], **batch}} if isinstance(batch, dict) else given

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if self.storage is not None and self.wait_for_result:
            raise ValueError("`wait_for_result` is not supported with a persistent queue configured with `storage`")
        if self.batch is None:
            return self
        if not self.enabled:
            raise ValueError("batch needs the queue: leave `enabled` true or take `batch` out")
        if self.batch.sizer == self.sizer and self.batch.min_size > self.queue_size:
            raise ValueError("batch::min_size must be less than or equal to queue_size")
        return self


class ExporterConfig(ComponentConfig):
    """Base of every exporter's configuration.

    Attributes:
        timeout: for each attempt; 0 for none.
        retry_on_failure: what happens to a request that may pass later.
        sending_queue: where requests wait.
    """

    timeout: Duration = 5.0
    retry_on_failure: RetryConfig = RetryConfig()
    sending_queue: QueueConfig = QueueConfig()
