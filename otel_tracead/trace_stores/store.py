"""A running Jaeger or Zipkin as a source: its traces in a range of time, each once."""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from time import sleep
from typing import Any, Final

import orjson

from otel_tracead.errors import InputError, InvalidRequest
from otel_tracead.trace_stores import jaeger, zipkin
from otel_tracead.trace_stores.address import Address
from otel_tracead.trace_stores.api import EVERY_SERVICE, STRANGE
from otel_tracead.trace_stores.client import StoreClient
from otel_tracead.trace_stores.paging import Found, Pages, TooDense, Window
from otel_tracead.traces.reading import Progress
from otel_tracead.wire.batch import SpanBatch
from otel_tracead.wire.otlp import Envelopes

_APIS: Final = {"jaeger": jaeger.API, "zipkin": zipkin.API}
_NAMED: Final = 20
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class TraceStore:
    """A backend as a source; the newest traces come first.

    Args:
        address: where it is, and what is to be read.
        wait: called with the seconds between two attempts.

    Attributes:
        size: as if it were a file of 64 MiB.
    """

    size = 64 << 20

    def __init__(self, address: Address, *, wait: Callable[[float], None] = sleep) -> None:
        self._address = address
        self._api = _APIS[address.kind]
        self._wait = wait

    def __str__(self) -> str:
        return str(self._address)

    def batches(self, envelopes: Envelopes, progress: Progress) -> Iterator[SpanBatch]:
        """Read all its traces, a batch each.

        Raises:
            InputError: it cannot be reached, says no, or knows no service that was asked for.
        """
        address, unit = self._address, self._api.unit
        first, last = address.start // unit, -(-address.end // unit)
        window = Window(first, max(last, first + 1))
        with StoreClient(address.base, address.user, address.password, name=str(self), wait=self._wait) as client:
            fetch = partial(self._fetch, client)
            pages = Pages(fetch, limit=address.limit)
            try:
                for trace in pages.read(self._services(client, fetch, window), window, progress):
                    batch = self._decoded(trace, envelopes)
                    if batch.groups:
                        yield batch
            except TooDense as dense:
                began = (_EPOCH + timedelta(microseconds=dense.window.first * unit // 1000)).isoformat()
                of = f" of {dense.service!r}" if dense.service else ""
                raise InputError(
                    f"{self}: the traces{of} that began at {began} are more than one answer can hold; "
                    "narrow the search down (docs/trace-files.md)"
                ) from dense

    def _services(
        self, client: StoreClient, fetch: Callable[[str, Window, int], Sequence[object]], window: Window
    ) -> list[str]:
        """Give the services to ask for, as the backend spells them."""
        wanted = [self._api.spelling(name) for name in self._address.services]
        if not wanted and self._api.without_service:
            return [EVERY_SERVICE]
        answer = client.get(self._api.services_path)
        try:
            there = sorted(self._api.services(answer))
        except STRANGE as error:
            raise self._strange(self._api.services_path) from error
        if not wanted and not there:
            raise InputError(f"{self}: it knows no service yet, so it holds no traces")
        for name in wanted:
            if name not in there and not fetch(name, window, 1):  # some list those of the last days only
                known = ", ".join(there[:_NAMED]) + (" …" if len(there) > _NAMED else "")
                raise InputError(f"{self}: no service {name!r}; there are: {known or 'none'}")
        return wanted or there

    def _fetch(self, client: StoreClient, service: str, window: Window, limit: int) -> Sequence[Found[Any]]:
        query = [*self._api.query(service, window, limit), *self._address.filters]
        answer = client.get(self._api.traces_path, query)
        try:
            return list(self._api.found(answer))
        except STRANGE as error:
            raise self._strange(self._api.traces_path) from error

    def _decoded(self, trace: Any, envelopes: Envelopes) -> SpanBatch:
        try:
            return self._api.decode(orjson.dumps(trace), envelopes)
        except InvalidRequest as error:
            raise InputError(f"{self}: a trace that cannot be read: {error}") from error

    def _strange(self, path: str) -> InputError:
        return InputError(
            f"{self}: what it answers to {path} is not what {self._api.product} answers; is it another backend?"
        )
