"""Refuses spans while memory is short, so that senders come back instead of the process being killed."""

from otel_tracead.component import Factory, Kind
from otel_tracead.processors.memory_limiter.config import MemoryLimiterConfig
from otel_tracead.processors.memory_limiter.processor import MemoryLimiter

FACTORY = Factory(
    name="memory_limiter",
    kind=Kind.PROCESSOR,
    config=MemoryLimiterConfig,
    build=MemoryLimiter,
)

__all__ = ["FACTORY", "MemoryLimiter", "MemoryLimiterConfig"]
