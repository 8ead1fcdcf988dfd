"""What a user may write for `file_storage`."""

import re
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from otel_tracead.component import ComponentConfig
from otel_tracead.config_types import Duration, FilePath, PositiveDuration, Size, WithoutEffect

_DIRECTORY: Final = Path("/var/lib/otelcol/file_storage")
_SHRINKS: Final = WithoutEffect("files shrink by themselves, a step at a time, when what they held is gone")


def _octal(value: object) -> object:
    if not isinstance(value, str) or not re.fullmatch(r"[0-7]{1,4}", value) or int(value, 8) > 0o777:
        raise PydanticCustomError("octal", 'must be permissions in octal digits within quotes, such as "0750"')
    return value


class CompactionConfig(ComponentConfig):
    """When files are made smaller; here they are by themselves."""

    on_start: Annotated[bool | None, _SHRINKS] = None
    on_rebound: Annotated[bool | None, _SHRINKS] = None
    directory: Annotated[str | None, _SHRINKS] = None
    rebound_needed_threshold_mib: Annotated[Size | None, _SHRINKS] = None
    rebound_trigger_threshold_mib: Annotated[Size | None, _SHRINKS] = None
    max_transaction_size: Annotated[Size | None, _SHRINKS] = None
    check_interval: Annotated[Duration | None, _SHRINKS] = None
    cleanup_on_start: Annotated[bool | None, _SHRINKS] = None


class FileStorageConfig(ComponentConfig):
    """Keys and defaults are those of the Collector's extension; its files cannot be read, and are left alone.

    Attributes:
        directory: where the files lie, one for each component; it must be there. A relative path starts from the
            configuration's folder. A reload cannot change it.
        create_directory: make the directory if it is not there.
        directory_permissions: of a directory that is made, in octal, minus the process's umask.
        timeout: how long to wait at the start for a file that another process has.
        fsync: have every record on the disk itself before its sender hears of it: it survives a crash of the machine,
            not only of the process.
        compaction: nothing of it is needed.
    """

    directory: FilePath = _DIRECTORY
    create_directory: bool = False
    directory_permissions: Annotated[str, BeforeValidator(_octal), Field(pattern="^[0-7]{1,4}$")] = "0750"
    timeout: PositiveDuration = 1.0
    fsync: bool = False
    recreate: Annotated[
        Any, WithoutEffect("a damaged file is always moved aside, and what can be read of it is kept")
    ] = None
    compaction: CompactionConfig = CompactionConfig()
