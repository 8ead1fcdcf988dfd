"""Jaeger's query API, which its UI uses: `/api/services` and `/api/traces`.

A trace is found by any span of the service that began in the window; microseconds, both ends belong to it. A service
must be named. Whole traces come.
Source: jaegertracing/jaeger, cmd/query/app/http_handler.go and query_parser.go; internal/storage/v2/memory/tenant.go.
"""

from collections.abc import Iterator
from typing import Any

from otel_tracead.trace_stores.api import Api, Parameters
from otel_tracead.trace_stores.paging import Found, Window
from otel_tracead.wire.jaeger import decode_traces

_ID_DIGITS = 32


def _services(document: Any) -> list[str]:
    return [str(name) for name in document["data"] or ()]


def _query(service: str, window: Window, limit: int) -> Parameters:
    return (
        ("service", service),
        ("start", str(window.first)),
        ("end", str(window.last)),
        ("limit", str(limit)),
        ("raw", "true"),  # spans as they were sent: without it their times may be moved to hide clock skew
    )


def _found(document: Any) -> Iterator[Found[Any]]:
    for trace in document["data"] or ():
        starts = [int(span["startTime"]) for span in trace["spans"]] or [0]
        yield Found(trace["traceID"].lower().zfill(_ID_DIGITS), min(starts), max(starts), trace)


API = Api(
    product="Jaeger",
    unit=1_000,
    services_path="/api/services",
    services=_services,
    spelling=str,
    traces_path="/api/traces",
    query=_query,
    found=_found,
    decode=decode_traces,
    without_service=False,
)
