"""Joins small requests into larger ones, by size and by age."""

from otel_tracead.component import Factory, Kind
from otel_tracead.processors.batch.config import BatchConfig
from otel_tracead.processors.batch.processor import BatchProcessor

FACTORY = Factory(name="batch", kind=Kind.PROCESSOR, config=BatchConfig, build=BatchProcessor)

__all__ = ["FACTORY", "BatchConfig", "BatchProcessor"]
