"""What a user writes for the `file` exporter; keys and defaults are those of the Collector's contrib."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from otel_tracead.component import ComponentConfig
from otel_tracead.config_types import Duration, FilePath, NotHere, Size
from otel_tracead.exporting import QueueConfig, RetryConfig
from otel_tracead.exporting.http_config import CompressionParams

_DEFAULT_MEGABYTES = 100


class RotationConfig(ComponentConfig):
    """When a file is put aside, as `name-2026-01-31T23-59-59.000.ext`, and how long it is kept.

    Attributes:
        max_megabytes: a file does not grow beyond (but for a single larger batch); 0 for the default.
        max_days: older ones are deleted; 0 for never.
        max_backups: more are deleted, oldest first; 0 for no limit.
        localtime: names in local time instead of UTC.
    """

    max_megabytes: Size = _DEFAULT_MEGABYTES
    max_days: Size = 0
    max_backups: Size = 100
    localtime: bool = False

    @property
    def megabytes(self) -> int:
        """What a file does not grow beyond."""
        return self.max_megabytes or _DEFAULT_MEGABYTES


class FileConfig(ComponentConfig):
    """The `file` exporter.

    Attributes:
        path: of the file; a relative one starts from the working directory.
        create_directory: make its folder, and those above, if they are not there.
        directory_permissions: of folders that are made, less the umask.
        format: `json`: one request a line; `proto`: each request after its length, 4 bytes, big-endian.
        compression: of each request; also puts lengths before them in JSON.
        compression_params: of `compression`.
        append: go on with an existing file instead of beginning anew; with `rotation` that is always so.
        rotation: absent lets the file grow.
        flush_interval: the longest time until spans are in the file. Batches go to the operating system one by one,
            before they count as sent, so it always holds.
        retry_on_failure: a full disk is waited out.
        sending_queue: where batches wait.
    """

    path: FilePath
    create_directory: bool = False
    directory_permissions: Annotated[str, Field(pattern="^0?[0-7]{3}$")] = "0755"
    format: Literal["json", "proto"] = "json"
    compression: Literal["zstd", ""] = ""
    compression_params: CompressionParams = CompressionParams()
    append: bool = False
    rotation: RotationConfig | None = None
    flush_interval: Duration = 1.0
    retry_on_failure: RetryConfig = RetryConfig()
    sending_queue: QueueConfig = QueueConfig()
    encoding: Annotated[Any, NotHere("there are no encoding extensions; `format` is json or proto")] = None
    group_by: Annotated[Any, NotHere("all spans go to one file; make an exporter for each file")] = None

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
