"""What a component may ask of an extension that keeps records on disk: logs that survive `kill -9`.

Everything here is called on the event loop; whoever implements it does its I/O elsewhere.
"""

from collections.abc import Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple, Protocol, runtime_checkable

from otel_tracead.component import Kind, Settings
from otel_tracead.errors import Backpressure, ConfigError


class NotStored(Backpressure):
    """What was to be stored is not, for want of room: nobody may tell a sender that these spans are safe."""


class StorageUnavailable(NotStored):
    """The disk is full, read-only or failing: nothing was stored, and the sender shall come back."""


class Entry(NamedTuple):
    """One record, without its bytes.

    Attributes:
        number: under which it stands; numbers of a log rise with time and are never used twice.
        note: what was appended with it.
        size: of the record in bytes.
    """

    number: int
    note: int
    size: int


class Log(Protocol):
    """Records of one kind in the order in which they were appended."""

    async def append(self, record: bytes, note: int = 0) -> int:
        """Store *record*; once this returns, it survives the death of the process (with `fsync`, of the machine).

        Calls are stored, numbered and woken up in the order in which they were made, across all logs of a store. A call
        that is cancelled stores nothing, or forgets it again.

        Returns:
            its number.

        Raises:
            StorageUnavailable: it is not stored.
            TooLarge: it never will be.
        """

    def remove(self, numbers: Iterable[int]) -> None:
        """Forget records, soon, and never before what was appended or removed earlier is on disk; never fails.

        After a crash a record that was removed at the last moment may be there again.
        """

    async def entries(self) -> Sequence[Entry]:
        """Give what is stored, in order.

        Raises:
            StorageUnavailable: the disk does not answer.
        """

    async def read(self, number: int) -> bytes | None:
        """Give a record; None if it is gone, or damaged, which the store has counted, reported and put aside.

        Raises:
            StorageUnavailable: the disk does not answer.
        """


class Store(Protocol):
    """The logs of one component, in one file: what is done to them is done in one order."""

    def log(self, name: str) -> Log:
        """Give the log of that name; always the same one."""

    def claim(self) -> AbstractAsyncContextManager[None]:
        """Own the records that are stored: one owner at a time, the next one waits.

        When a reload replaces a component, its successor appends at once and claims what the other left when that is gone.
        """


@runtime_checkable
class Storage(Protocol):
    """An extension that components name under `storage`."""

    def store(self, kind: Kind, component: str, name: str = "") -> Store:
        """Give the store of a component; every call with the same arguments gives the same one.

        Args:
            kind: of the component.
            component: its id.
            name: of the store, where a component has several.

        Raises:
            StartError: it cannot be opened.
        """


def find_storage(settings: Settings, id_: str, key: str) -> Storage:
    """Give the extension that *id_* names under *key*.

    Raises:
        ConfigError: there is no such extension, or it stores nothing.
    """
    found = settings.extensions.get(id_)
    if found is None:
        raise ConfigError([f'{key}: failed to resolve storage "{id_}": storage not found'])
    if not isinstance(found, Storage):
        raise ConfigError([f'{key}: "{id_}" is not a storage extension'])
    return found
