"""The exporter `names`, a plug-in for otel-tracead: appends the name of each span to a file."""

from opentelemetry.proto.trace.v1.trace_pb2 import Span

from otel_tracead.component import Factory, Kind
from otel_tracead.config_types import FilePath
from otel_tracead.exporting import ExporterConfig, QueuedExporter
from otel_tracead.wire.batch import SpanBatch


class NamesConfig(ExporterConfig):
    """What a user writes: timeout, retry and queue come with the base."""

    path: FilePath


class NamesSender:
    """Gives batches to the backend; queue, retry and drain are around it."""

    def __init__(self, config: NamesConfig) -> None:
        self._path = config.path

    async def start(self) -> None:
        """Open what is needed."""

    async def send(self, batch: SpanBatch) -> None:
        """Write; an OSError is tried again later."""
        with self._path.open("a") as file:
            file.writelines(f"{envelope.service} {Span.FromString(span).name}\n" for envelope, span in batch)

    async def shutdown(self) -> None:
        """Close everything."""


FACTORY = Factory(
    name="names",
    kind=Kind.EXPORTER,
    config=NamesConfig,
    build=lambda config, settings, _: QueuedExporter(settings, config, NamesSender(config)),
)
