"""A component's logs on the event loop: what waits while the disk works becomes one transaction, in one order."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Final, Protocol, TypeVar

from otel_tracead.daemon import DaemonThread
from otel_tracead.errors import StartError, TooLarge
from otel_tracead.extensions.file_storage.database import Row, checksum
from otel_tracead.extensions.file_storage.database_file import Damage, Unavailable
from otel_tracead.extensions.file_storage.record_file import RecordFile
from otel_tracead.storage import Entry, StorageUnavailable
from otel_tracead.wire.stored import MAX_RECORD

_GROUP_BYTES: Final = 8 << 20
_GROUP: Final = 1024
_MOST_WAITING: Final = 256 << 20
"""Bytes that may wait for the disk: more than requests under way hold, unless it hangs."""
_REMOVALS_WAIT: Final = 0.02
"""Seconds that removals wait for company: each transaction costs as much as several records."""
_RETRY: Final = 1.0
_UPKEEP: Final = 0.5
_UPKEEP_MORE: Final = 0.05
_LOOK_AGAIN: Final = 2.0
_LAST_WORK: Final = 10.0

ResultT = TypeVar("ResultT")

_Append = tuple[int, str, int, bytes, "asyncio.Future[None]"]


class Ledger(Protocol):
    """Hears how a store does; every method is called on the event loop."""

    def committed(self, records: int, size: int) -> None:
        """A transaction stored *records* of *size* bytes."""

    def failed(self, reason: str) -> None:
        """The disk did not do something."""

    def worked(self) -> None:
        """The disk did something."""

    def damaged(self, damage: Damage) -> None:
        """Something was found that was not what had been written."""


class FileStore:
    """A `Store` in one `RecordFile`, all of whose work one thread does.

    Args:
        file: open.
        thread: its own.
        ledger: hears how it goes.
    """

    def __init__(self, file: RecordFile, thread: DaemonThread, ledger: Ledger) -> None:
        self.file = file
        self._thread = thread
        self._ledger = ledger
        self._logs: dict[str, FileLog] = {}
        self._owner = asyncio.Lock()
        self._next = file.first
        self._pending: deque[_Append | int] = deque()
        self._waiting_bytes = 0
        self._removing: set[int] = set()
        self._timer: asyncio.Handle | None = None
        self._upkeep: asyncio.Handle | None = None
        self._working = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._closing = self._closed = False
        self._note_damages()

    def log(self, name: str) -> "FileLog":
        """Give the log of that name; always the same one."""
        found = self._logs.get(name)
        if found is None:
            found = self._logs[name] = FileLog(self, name)
        return found

    def claim(self) -> asyncio.Lock:
        """Own what is stored; see `Store.claim`."""
        return self._owner

    async def append(self, log: str, record: bytes, note: int) -> int:
        """Store a record; see `Log.append`."""
        self._check_open()
        if len(record) > MAX_RECORD:
            raise TooLarge(f"a record of {len(record)} bytes is larger than {MAX_RECORD}")
        if self._waiting_bytes and self._waiting_bytes + len(record) > _MOST_WAITING:
            self._ledger.failed("the disk does not keep up")
            raise StorageUnavailable("the disk does not keep up")
        number = self._next
        self._next += 1
        stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pending.append((number, log, note, record, stored))
        self._waiting_bytes += len(record)
        self._schedule(0)
        try:
            await stored
        except asyncio.CancelledError:
            self.remove((number,))
            raise
        return number

    def remove(self, numbers: Iterable[int]) -> None:
        """Forget records; see `Log.remove`."""
        gone = tuple(numbers)
        if gone and not self._closed:
            self._pending.extend(gone)
            self._removing.update(gone)
            self._schedule(_REMOVALS_WAIT)

    async def entries(self, log: str) -> Sequence[Entry]:
        """List a log; see `Log.entries`."""
        found = await self._do(lambda: self.file.entries(log))
        return [entry for entry in found if entry.number not in self._removing]

    async def read(self, number: int) -> bytes | None:
        """Give a record; see `Log.read`."""
        return None if number in self._removing else await self._do(lambda: self.file.read(number))

    def set_fsync(self, *, fsync: bool) -> None:
        """Have commits on the disk itself from now on, or no longer."""
        if not self._closing:
            self._thread.submit(lambda: self.file.set_fsync(fsync=fsync))

    async def close(self) -> None:
        """Do what waits, and close the file; a disk that does not answer is left behind. Idempotent."""
        if self._closing:
            return
        self._closing = True
        if self._upkeep is not None:
            self._upkeep.cancel()
        if self._pending:
            self._schedule(0)
        try:
            async with asyncio.timeout(_LAST_WORK):
                while self._pending or self._working:  # what others settle in the same moment is done, too
                    await self._idle.wait()
                self._closed = True
                await asyncio.wrap_future(self._thread.submit(self.file.close))
        except TimeoutError:
            self._ledger.failed("the disk does not answer")
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._thread.close()

    def _check_open(self) -> None:
        if self._closing:
            raise StorageUnavailable("the storage is closed")

    async def _do(self, work: Callable[[], ResultT]) -> ResultT:
        self._check_open()
        try:
            result = await asyncio.wrap_future(self._thread.submit(work))
        except (Unavailable, StartError) as error:
            self._fail(str(error))
            raise StorageUnavailable(str(error)) from error
        finally:
            self._note_damages()
        self._ledger.worked()
        return result

    def _schedule(self, delay: float) -> None:
        """Begin a transaction after *delay*, unless one is under way: its end begins the next."""
        self._idle.clear()
        if self._working or (self._timer is not None and delay):
            return
        if self._timer is not None:
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(delay, self._begin) if delay else loop.call_soon(self._begin)

    def _begin(self) -> None:
        """Give the thread what waits, as one transaction; what comes in the meantime makes the next."""
        self._timer = None
        group = _Group()
        while self._pending and not group.full:
            group.add(self._pending.popleft())
        self._working = True
        loop = asyncio.get_running_loop()
        done = self._thread.submit(lambda: self.file.commit(group.rows(), group.removals, group.ahead))
        done.add_done_callback(lambda done: _on_loop(loop, self._end, done, group))

    def _end(self, done: "Future[None]", group: "_Group") -> None:
        self._working = False
        self._waiting_bytes -= group.size
        error = done.exception()
        if error is None:
            self._removing.difference_update(group.removals)
            self._ledger.committed(len(group.appends), group.size)
            for *_, stored in group.appends:
                if not stored.done():
                    stored.set_result(None)
        else:
            kept = group.removals[error.removed if isinstance(error, Unavailable) else 0 :]
            self._pending.extendleft(reversed(kept))
            for *_, stored in group.appends:
                if not stored.done():
                    stored.set_exception(StorageUnavailable(str(error)))
            self._fail(str(error))
            if self._closing:
                self._pending.clear()
        self._note_damages()
        if self._pending:
            appends = any(not isinstance(one, int) for one in self._pending)
            self._schedule(0 if appends or self._closing else _RETRY if error is not None else _REMOVALS_WAIT)
        else:
            self._idle.set()
        self._keep_up(_UPKEEP)  # under a steady load something always waits: unused room is given back all the same

    def _keep_up(self, delay: float) -> None:
        if self._upkeep is None and not self._closing:
            self._upkeep = asyncio.get_running_loop().call_later(delay, self._begin_upkeep)

    def _begin_upkeep(self) -> None:
        loop = asyncio.get_running_loop()
        done = self._thread.submit(self.file.upkeep)
        done.add_done_callback(lambda done: _on_loop(loop, self._end_upkeep, done))

    def _end_upkeep(self, done: "Future[bool]") -> None:
        self._upkeep = None
        error = done.exception()
        self._note_damages()
        if error is not None:
            self._fail(str(error))
            return
        self._ledger.worked()
        if done.result():
            self._keep_up(_UPKEEP_MORE)

    def _fail(self, reason: str) -> None:
        self._ledger.failed(reason)
        self._keep_up(_LOOK_AGAIN)  # so that it is known when the disk works again

    def _note_damages(self) -> None:
        while self.file.damages:
            self._ledger.damaged(self.file.damages.popleft())


class FileLog:
    """A `Log` of a `FileStore`."""

    def __init__(self, store: FileStore, name: str) -> None:
        self._store = store
        self._name = name

    async def append(self, record: bytes, note: int = 0) -> int:
        """Store a record; see `Log`."""
        return await self._store.append(self._name, record, note)

    def remove(self, numbers: Iterable[int]) -> None:
        """Forget records; see `Log`."""
        self._store.remove(numbers)

    async def entries(self) -> Sequence[Entry]:
        """List what is stored; see `Log`."""
        return await self._store.entries(self._name)

    async def read(self, number: int) -> bytes | None:
        """Give a record; see `Log`."""
        return await self._store.read(number)


class _Group:
    """What goes into one transaction."""

    def __init__(self) -> None:
        self.appends: list[_Append] = []
        self.removals: list[int] = []
        self.ahead = 0
        self.size = 0

    @property
    def full(self) -> bool:
        return self.size >= _GROUP_BYTES or len(self.appends) + len(self.removals) >= _GROUP

    def add(self, one: _Append | int) -> None:
        if isinstance(one, int):
            self.removals.append(one)
            self.ahead += not self.appends
        else:
            self.appends.append(one)
            self.size += len(one[3])

    def rows(self) -> list[Row]:
        return [
            (number, log, note, checksum(number, log, note, body), body) for number, log, note, body, _ in self.appends
        ]


def _on_loop(loop: asyncio.AbstractEventLoop, call: Callable[..., None], *arguments: object) -> None:
    with suppress(RuntimeError):  # the loop is gone, and with it everybody who waits
        loop.call_soon_threadsafe(call, *arguments)
