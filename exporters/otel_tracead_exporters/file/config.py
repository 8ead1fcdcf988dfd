"""What a user writes for the `file` exporter; keys and defaults are those of the Collector's contrib."""

from pathlib import Path
from typing import Literal, Self

from pydantic import field_validator, model_validator

from otel_tracead.component import ComponentConfig
from otel_tracead.config_types import Duration, FilePath, PositiveSize, Size
from otel_tracead.exporting import QueueConfig, RetryConfig


class RotationConfig(ComponentConfig):
    """When a file is put aside, as `name-2026-01-31T23-59-59.000.ext`, and how long it is kept.

    Attributes:
        max_megabytes: a file does not grow beyond (but for a single larger batch).
        max_days: older ones are deleted; 0 for never.
        max_backups: more are deleted, oldest first; 0 for no limit.
        localtime: names in local time instead of UTC.
    """

    max_megabytes: PositiveSize = 100
    max_days: Size = 0
    max_backups: Size = 100
    localtime: bool = False


class FileConfig(ComponentConfig):
    """The `file` exporter.

    Attributes:
        path: of the file; a relative one starts from the working directory. Its folder must exist.
        format: `json`: one request a line; `proto`: each request after its length, 4 bytes, big-endian.
        compression: of each request; also puts lengths before them in JSON.
        append: go on with an existing file instead of beginning anew; with `rotation` that is always so.
        rotation: absent lets the file grow.
        flush_interval: the longest time until spans are in the file. Batches go to the operating system one by one,
            before they count as sent, so it always holds.
        retry_on_failure: a full disk is waited out.
        sending_queue: where batches wait.
    """

    path: FilePath
    format: Literal["json", "proto"] = "json"
    compression: Literal["zstd", ""] = ""
    append: bool = False
    rotation: RotationConfig | None = None
    flush_interval: Duration = 1.0
    retry_on_failure: RetryConfig = RetryConfig()
    sending_queue: QueueConfig = QueueConfig()

    @field_validator("path")
    @classmethod
    def _not_empty(cls, path: Path) -> Path:
        if path == Path():
            raise ValueError("path must be non-empty")
        return path

    @model_validator(mode="after")
    def _append_or_rotate(self) -> Self:
        if self.append and self.rotation is not None:
            raise ValueError("append and rotation are not supported together: a rotated file is always appended to")
        return self
