"""The extension: gives each component its file, and says how the disk is."""

import asyncio
import hashlib
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from otel_tracead.component import Kind, Settings
from otel_tracead.daemon import DaemonThread
from otel_tracead.errors import StartError
from otel_tracead.extensions.file_storage.config import FileStorageConfig
from otel_tracead.extensions.file_storage.database_file import Damage
from otel_tracead.extensions.file_storage.record_file import RecordFile
from otel_tracead.extensions.file_storage.store import FileStore
from otel_tracead.log_limit import LogLimiter
from otel_tracead.metrics import (
    STORAGE_BYTES,
    STORAGE_COMMITS,
    STORAGE_DAMAGED,
    STORAGE_FAILURES,
    STORAGE_RECORDS,
    STORAGE_SIZE,
    STORAGE_STORED,
)

_LONGEST_NAME: Final = 180
_DAMAGE_SHOWS: Final = 300.0
"""Seconds for which the health tells of damage that was mended."""


class FileStorage:
    """A `Storage`; goes on with another configuration, but for the directory.

    Args:
        config: what the user wrote.
        settings: what the service gives.
        now: a clock in seconds, for how long the health tells of damage.
    """

    def __init__(
        self, config: FileStorageConfig, settings: Settings, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._config = config
        self._settings = settings
        self._now = now
        self._directory = directory(config, settings)
        self._stores: dict[str, FileStore] = {}
        self._ledgers: dict[str, _Ledger] = {}
        self._whose: dict[str, tuple[Kind, str, str]] = {}

    async def start(self) -> None:
        """Make sure of the directory.

        Raises:
            OSError: it is not there, or cannot be made.
        """
        if self._config.create_directory:
            self._directory.mkdir(int(self._config.directory_permissions, 8), parents=True, exist_ok=True)
        problem = missing(self._directory)
        if problem:
            raise StartError(problem)

    async def shutdown(self) -> None:
        """Do what waits, and close all files."""
        await asyncio.gather(*(store.close() for store in self._stores.values()))

    @asynccontextmanager
    async def revision(self, config: FileStorageConfig, settings: Settings) -> AsyncIterator[None]:
        """Make ready for *config*; see `Revisable`."""
        if directory(config, settings) != self._directory:
            raise StartError(
                f"directory: what lies in {self._directory} cannot be moved while it is in use; start anew"
            )
        yield
        self._config = config
        for store in self._stores.values():
            store.set_fsync(fsync=config.fsync)

    def store(self, kind: Kind, component: str, name: str = "") -> FileStore:
        """Give the store of a component, always the same one; see `Storage`.

        Raises:
            StartError: it cannot be opened, or another component's file has the same name.
        """
        whose = (kind, component, name)
        id_ = "_".join((kind.singular, *(component.split("/", 1) if "/" in component else (component, ""))))
        key = f"{id_}_{name}" if name else id_
        found = self._stores.get(key)
        if found is None:
            file = RecordFile(self._directory / file_name(key), fsync=self._config.fsync, timeout=self._config.timeout)
            thread = DaemonThread(f"storage of {component}")
            try:
                thread.submit(file.open).result()
            except BaseException:
                thread.close()
                raise
            ledger = self._ledgers[key] = _Ledger(self, key, file)
            found = self._stores[key] = FileStore(file, thread, ledger)
            self._whose[key] = whose
            self._settings.logger.info("storage opened", file=file.path.name, records=file.records)
        if self._whose[key] != whose:  # as of `tracead/a_traces/b` in `traces`, and `tracead/a` in `traces/b_traces`
            raise StartError(f'"{component}" would share the file of "{self._whose[key][1]}": rename one of them')
        return found

    def show_health(self) -> None:
        """Say how the worst of the stores is."""
        now = self._now()
        for ledger in self._ledgers.values():
            problem = ledger.problem(now)
            if problem:
                self._settings.health.recoverable(problem)
                return
        self._settings.health.ok()


class _Ledger:
    """Counts what one store does, and remembers how it is."""

    def __init__(self, extension: FileStorage, name: str, file: RecordFile) -> None:
        settings = extension._settings  # noqa: SLF001 (a part of it)
        self._extension = extension
        self._now = extension._now  # noqa: SLF001
        self._logger = settings.logger
        self._logs = LogLimiter(settings.logger)
        self._name = name
        self._failure = ""
        self._damage = ""
        self._damage_shows_until = 0.0
        telemetry, labels = settings.telemetry, (settings.id, name)
        self._commits = telemetry.counter(STORAGE_COMMITS, *labels)
        self._stored = telemetry.counter(STORAGE_STORED, *labels)
        self._bytes = telemetry.counter(STORAGE_BYTES, *labels)
        self._failures = telemetry.counter(STORAGE_FAILURES, *labels)
        self._damaged = telemetry.counter(STORAGE_DAMAGED, *labels)
        telemetry.observe(STORAGE_RECORDS, lambda: file.records, *labels)
        telemetry.observe(STORAGE_SIZE, lambda: file.size, *labels)

    def problem(self, now: float) -> str:
        """Say what is wrong, if anything is."""
        return self._failure or (self._damage if now < self._damage_shows_until else "")

    def committed(self, records: int, size: int) -> None:
        """Count a transaction."""
        self._commits.add()
        self._stored.add(records)
        self._bytes.add(size)
        self.worked()

    def failed(self, reason: str) -> None:
        """Count a failure, and say it."""
        self._failures.add()
        self._logs.warning("the storage does not work; senders are told to come back", store=self._name, error=reason)
        self._failure = f"{self._name}: {reason}"
        self._extension.show_health()

    def worked(self) -> None:
        """Say that it works again, if it did not."""
        if self._failure:
            self._failure = ""
            self._logger.info("the storage works again", store=self._name)
            self._extension.show_health()
        elif self._damage and self._now() >= self._damage_shows_until:
            self._damage = ""
            self._extension.show_health()

    def damaged(self, damage: Damage) -> None:
        """Count what was lost, and say it."""
        self._damaged.add(damage.records)
        self._logger.error("damage in the storage", store=self._name, problem=damage.what)
        self._damage = f"{self._name}: {damage.what}"
        self._damage_shows_until = self._now() + _DAMAGE_SHOWS
        self._extension.show_health()


def directory(config: FileStorageConfig, settings: Settings) -> Path:
    """Give the directory, where a relative path starts from the configuration's folder."""
    return settings.base / config.directory


def missing(path: Path) -> str:
    """Say what is wrong with the directory, if anything is."""
    if path.is_dir():
        return ""
    if path.exists():
        return f"directory: {path} is not a directory"
    return f"directory: {path} must exist; make it, or set create_directory"


def file_name(key: str) -> str:
    """Give the name of a store's file: safe characters, others as `~` and their number, as the Collector writes them."""
    safe = re.sub(r"[^A-Za-z0-9._\-]", lambda found: f"~{ord(found[0]):04X}", key)
    # The ending keeps it apart from the Collector's own file of the same component.
    return f"{safe if len(safe) <= _LONGEST_NAME else hashlib.sha256(safe.encode()).hexdigest()}.db"
