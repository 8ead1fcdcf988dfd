"""What is to be known of a backend's query API to read all its traces."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from otel_tracead.trace_stores.paging import Found, Window
from otel_tracead.wire.batch import SpanBatch
from otel_tracead.wire.otlp import Envelopes

EVERY_SERVICE: Final = ""
"""Stands for all services at once, where a backend may be asked so."""

Parameters = Sequence[tuple[str, str]]

STRANGE: Final = (LookupError, TypeError, ValueError, AttributeError)
"""What reading an answer raises that is not as it should be."""


@dataclass(frozen=True, slots=True)
class Api:
    """The query API of one kind of backend.

    Attributes:
        product: its name.
        unit: nanoseconds of the unit that it counts time in.
        services_path: lists the services.
        services: gives their names, of the parsed answer; raises what `STRANGE` lists.
        spelling: gives a service's name as the backend keeps it.
        traces_path: finds traces.
        query: the parameters that ask for the traces of a service in a window with both its ends, at most so many.
        found: gives the traces of the parsed answer, each as JSON that was parsed; raises what `STRANGE` lists.
        decode: reads one of them, written as JSON; raises InvalidRequest.
        without_service: whether `EVERY_SERVICE` may be asked for.
    """

    product: str
    unit: int
    services_path: str
    services: Callable[[Any], list[str]]
    spelling: Callable[[str], str]
    traces_path: str
    query: Callable[[str, Window, int], Parameters]
    found: Callable[[Any], Iterator[Found[Any]]]
    decode: Callable[[bytes, Envelopes], SpanBatch]
    without_service: bool
