"""Posts batches to Zipkin's `/api/v2/spans` or whoever speaks it."""

from typing import Final

from otel_tracead.component import Settings
from otel_tracead.errors import RetryableError, TooLarge
from otel_tracead.exporting.http import HttpClient
from otel_tracead.wire.batch import SpanBatch
from otel_tracead.wire.zipkin import encode_protobuf, encode_spans
from otel_tracead_exporters.zipkin.config import ZipkinConfig

# Zipkin answers 500 when its storage is away; what it cannot read gets a 400.
_RETRYABLE: Final = frozenset({408, 429, 500, 502, 503, 504})

# A body over its limit, 10 MiB, gets a 500, too; what it means stands in the text (Zipkin 3.5, measured).
_TOO_LARGE: Final = "HTTP 500: 413 "

_FORMATS: Final = {
    "json": (encode_spans, "application/json"),
    "proto": (encode_protobuf, "application/x-protobuf"),
}


class ZipkinSender:
    """A `Sender` for one backend."""

    def __init__(self, config: ZipkinConfig, settings: Settings) -> None:
        self._service_name = config.default_service_name
        self._encode, self._content_type = _FORMATS[config.format]
        self._client = HttpClient(config, settings, config.endpoint, retryable=_RETRYABLE)

    async def start(self) -> None:
        """Open the HTTP session.

        Raises:
            OSError: a certificate cannot be read.
        """
        await self._client.start()

    async def send(self, batch: SpanBatch) -> None:
        """Send *batch* (see `otel_tracead.exporting.Sender`).

        Raises:
            PipelineError: what the status of the answer means.
        """
        try:
            await self._client.post(self._encode(batch, self._service_name), self._content_type)
        except RetryableError as error:
            if str(error).startswith(_TOO_LARGE):
                raise TooLarge(str(error)) from error
            raise

    async def shutdown(self) -> None:
        """Close the HTTP session."""
        await self._client.shutdown()
