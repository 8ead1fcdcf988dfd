"""What a user writes for the `otlpjsonfile` receiver; keys are those of the Collector's contrib."""

import re
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from otel_tracead.component import ComponentConfig
from otel_tracead.config_types import NotHere, PositiveDuration, Strings, WithoutEffect

_SIZE: Final = re.compile(r"(\d+)\s*([kmg]?)(i?)b?", re.IGNORECASE | re.ASCII)
_POWERS: Final = {"": 0, "k": 1, "m": 2, "g": 3}


def _bytes(value: object) -> object:
    if not isinstance(value, str):
        return value
    match = _SIZE.fullmatch(value.strip())
    if match is None:
        raise PydanticCustomError("byte_size", "expected a number of bytes such as 1048576, 512KiB or 20MiB")
    number, power, binary = match.groups()
    return int(number) * (1024 if binary else 1000) ** _POWERS[power.lower()]


ByteSize = Annotated[int, BeforeValidator(_bytes), Field(gt=0)]

_INODES: Final = WithoutEffect("files are known by their inode, which a rename does not change")
_NO_RECORDS: Final = WithoutEffect("spans get no attributes of the file that they came in")
_BUFFERS: Final = WithoutEffect("files are read in parts of 256 KiB")
_LINES: Final = NotHere("each line is one request, as file exporters write them")


class OtlpJsonFileConfig(ComponentConfig):
    """The `otlpjsonfile` receiver.

    Attributes:
        include: globs of the files to read (`*`, `?`, `[a-z]`, and `**` for any depth); relative ones start from the
            working directory.
        exclude: globs of files among them that are left alone.
        start_at: where to begin in files that are there at the start; files that come later are read from their
            beginning.
        poll_interval: between two looks at the files.
        max_log_size: of a line; a longer one is skipped. The Collector's default is 1 MiB, which lines of large batches
            exceed.
        max_concurrent_files: kept open at a time; more are read in turns.
        force_flush_period: a last line without its line end is taken when it has not grown for so long and is whole.
        encoding: of the files; UTF-8 is what there is.
        compression: of the files: none, `gzip`, or `auto` for those whose name ends in `.gz`.
    """

    include: Annotated[tuple[str, ...], Field(strict=False, min_length=1)]
    exclude: Strings = ()
    start_at: Literal["beginning", "end"] = "end"
    poll_interval: PositiveDuration = 0.2
    max_log_size: ByteSize = 20 * 1024 * 1024
    max_concurrent_files: Annotated[int, Field(gt=1)] = 1024
    force_flush_period: PositiveDuration = 0.5
    compression: Literal["", "gzip", "auto"] = ""
    fingerprint_size: Annotated[ByteSize | None, _INODES] = None
    polls_to_archive: Annotated[int | None, _INODES] = None
    initial_buffer_size: Annotated[ByteSize | None, _BUFFERS] = None
    file_cache_advise: Annotated[bool | None, _BUFFERS] = None
    include_file_name: Annotated[bool | None, _NO_RECORDS] = None
    include_file_path: Annotated[bool | None, _NO_RECORDS] = None
    include_file_name_resolved: Annotated[bool | None, _NO_RECORDS] = None
    include_file_path_resolved: Annotated[bool | None, _NO_RECORDS] = None
    include_file_record_number: Annotated[bool | None, _NO_RECORDS] = None
    include_file_record_offset: Annotated[bool | None, _NO_RECORDS] = None
    encoding: Literal["utf-8", "utf8"] = "utf-8"
    storage: Annotated[Any, NotHere("where reading stopped is kept in memory; use start_at")] = None
    replay_file: Annotated[Any, NotHere("`otel-tracead score` reads a file as often as it is called")] = None
    delete_after_read: Annotated[Any, NotHere("files are somebody else's; let their writer rotate them")] = None
    acquire_fs_lock: Annotated[Any, NotHere("files are read without a lock")] = None
    ordering_criteria: Annotated[Any, NotHere("files are read in order of their last change; narrow `include`")] = None
    exclude_older_than: Annotated[Any, NotHere("narrow `include`, or use start_at: end")] = None
    header: Annotated[Any, _LINES] = None
    multiline: Annotated[Any, _LINES] = None
