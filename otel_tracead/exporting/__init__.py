"""What every exporter shares: timeout, retry with back-off and a sending queue, as the Collector's exporterhelper.

An exporter is a `Sender` of a few lines; `QueuedExporter` does the rest and is the component in the pipeline.
"""

from otel_tracead.exporting.attempts import Sender
from otel_tracead.exporting.config import BatchConfig, ExporterConfig, QueueConfig, RetryConfig, Sizer
from otel_tracead.exporting.exporter import QueuedExporter

__all__ = ["BatchConfig", "ExporterConfig", "QueueConfig", "QueuedExporter", "RetryConfig", "Sender", "Sizer"]
