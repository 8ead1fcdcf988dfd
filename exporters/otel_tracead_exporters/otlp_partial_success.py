"""Partial success: what an OTLP backend says about spans that it took the request for, and not the spans."""

from collections.abc import Callable
from typing import Final

import orjson
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from otel_tracead.component import Settings
from otel_tracead.log_limit import LogLimiter
from otel_tracead.metrics import EXPORTER_REJECTED

_MOST_OF_A_MESSAGE: Final = 500
_MOST_SPANS: Final = 2**31


class PartialSuccess:
    """Counts and logs partial successes; the specification forbids to send such a request again.

    Args:
        settings: what the service gives.
        private: gives a message without secrets.
    """

    def __init__(self, settings: Settings, private: Callable[[str], str]) -> None:
        self._private = private
        self._rejected = settings.telemetry.counter(EXPORTER_REJECTED, settings.id)
        self._logs = LogLimiter(settings.logger)

    def note_protobuf(self, response: bytes) -> None:
        """Note the `ExportTraceServiceResponse` in *response*; one that cannot be read is none."""
        try:
            partial = ExportTraceServiceResponse.FromString(response).partial_success
        except DecodeError:
            return
        self._note(partial.rejected_spans, partial.error_message)

    def note_json(self, response: bytes) -> None:
        """Note the same in OTLP/JSON."""
        try:
            partial = orjson.loads(response)["partialSuccess"]
            self._note(int(partial.get("rejectedSpans") or 0), str(partial.get("errorMessage") or ""))
        except (ValueError, KeyError, TypeError, AttributeError):
            return

    def _note(self, rejected: int, message: str) -> None:
        self._rejected.add(min(max(rejected, 0), _MOST_SPANS))
        said = self._private(message)[:_MOST_OF_A_MESSAGE]
        if rejected > 0:
            self._logs.warning("the backend rejected spans", rejected=rejected, message=said)
        elif said:
            self._logs.warning("the backend warns", message=said)
