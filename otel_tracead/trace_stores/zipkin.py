"""Zipkin's query API: `/api/v2/services` and `/api/v2/traces`.

A trace is found by when its root began (else its first span); milliseconds, both ends of the window belong to it.
Services are optional, and kept in lower case. Whole traces come.
Source: openzipkin/zipkin-api, zipkin2-api.yaml; openzipkin/zipkin, zipkin2/storage/QueryRequest.java.
"""

from collections.abc import Iterator
from typing import Any

from otel_tracead.trace_stores.api import EVERY_SERVICE, Api, Parameters
from otel_tracead.trace_stores.paging import Found, Window
from otel_tracead.wire.zipkin import decode_spans

_ID_DIGITS = 32


def _services(document: Any) -> list[str]:
    if type(document) is not list:
        raise TypeError
    return [str(name) for name in document]


def _query(service: str, window: Window, limit: int) -> Parameters:
    named = () if service == EVERY_SERVICE else (("serviceName", service),)
    return (
        *named,
        ("endTs", str(window.last)),
        ("lookback", str(window.last - window.first)),
        ("limit", str(limit)),
    )


def _found(document: Any) -> Iterator[Found[Any]]:
    if type(document) is not list:
        raise TypeError
    for trace in document:
        starts = [int(span["timestamp"]) // 1000 for span in trace if span.get("timestamp")] or [0]
        # A server that is not strict puts ids of 16 and of 32 digits into one trace.
        key = min((span["traceId"].lower().zfill(_ID_DIGITS) for span in trace), default="")
        yield Found(key, min(starts), max(starts), trace)


API = Api(
    product="Zipkin",
    unit=1_000_000,
    services_path="/api/v2/services",
    services=_services,
    spelling=str.lower,
    traces_path="/api/v2/traces",
    query=_query,
    found=_found,
    decode=decode_spans,
    without_service=True,
)
