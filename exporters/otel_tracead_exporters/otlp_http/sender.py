"""Posts batches to an OTLP/HTTP backend and reads its status and partial success."""

from typing import Final

import orjson

from otel_tracead.component import Settings
from otel_tracead.exporting.http import HttpClient
from otel_tracead.wire import otlp, otlp_json
from otel_tracead.wire.batch import SpanBatch
from otel_tracead.wire.rpc_status import RpcStatus
from otel_tracead_exporters.otlp_http.config import OtlpHttpConfig
from otel_tracead_exporters.otlp_partial_success import PartialSuccess

_PROTOBUF: Final = "application/x-protobuf"
_JSON: Final = "application/json"


class OtlpHttpSender:
    """A `Sender` for one backend."""

    def __init__(self, config: OtlpHttpConfig, settings: Settings) -> None:
        self._json = config.encoding == "json"
        self._client = HttpClient(config, settings, config.url, explain=_explain)
        self._partial_success = PartialSuccess(settings, self._client.without_secrets)

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
        # Without a name of its own here, the body is gone as soon as it is compressed.
        answer = await self._client.post(
            otlp_json.encode_request(batch) if self._json else otlp.encode_request(batch),
            _JSON if self._json else _PROTOBUF,
        )
        if not answer.body:
            return
        if answer.content_type == _JSON:
            self._partial_success.note_json(answer.body)
        elif answer.content_type == _PROTOBUF:
            self._partial_success.note_protobuf(answer.body)

    async def shutdown(self) -> None:
        """Close the HTTP session."""
        await self._client.shutdown()


def _explain(content_type: str, body: bytes) -> str:
    """Give the message of a `google.rpc.Status`, or the body where there is none."""
    if content_type == _PROTOBUF:
        status = RpcStatus.decode(body)
        return status.message if status is not None else ""
    if content_type == _JSON:
        try:
            return str(orjson.loads(body)["message"])
        except (ValueError, KeyError, TypeError):
            pass
    return body.decode(errors="replace")
