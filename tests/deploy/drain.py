"""How long a configuration may take to drain at SIGTERM, from the defaults in the code."""

from pathlib import Path
from typing import Any

import structlog

from otel_tracead.component import Kind
from otel_tracead.processors.batch import processor as batch
from otel_tracead.processors.tracead.processor import TraceadProcessor
from otel_tracead.receivers.otlp.receiver import OtlpReceiver
from otel_tracead.service import lifecycle
from otel_tracead.service.config import decode
from otel_tracead.service.graph import Node
from otel_tracead.service.lifecycle import Service
from otel_tracead.service.registry import Registry
from otel_tracead.service.uris import Sources
from otel_tracead.telemetry import Telemetry


def drain_seconds(config: Path | str, variables: dict[str, str] | None = None) -> float:
    """The longest drain of *config*, a file or YAML text: stage after stage, the slowest chain of each."""
    uri = str(config) if isinstance(config, Path) else f"yaml:{config}"
    tree = Sources([uri], variables=variables or {}).load(lambda _warning: None)
    decoded = decode(tree, Registry(), Path.cwd())
    service = Service(decoded, telemetry=Telemetry(), logger=structlog.get_logger())
    return sum(
        max((sum(map(_seconds, chain)) for chain in stage), default=0) for stage in service.graph.shutdown_stages()
    )


def _seconds(node: Node) -> float:
    fans_out = node.outlet is not None and len(node.outlet.consumers) > 1  # then copies may wait for one of several
    return (lifecycle._OUTLET_SECONDS if fans_out else 0) + _own_seconds(node)


def _own_seconds(node: Node) -> float:
    component: Any = node.component
    if isinstance(component, TraceadProcessor):
        return component._config.shutdown_timeout
    if isinstance(component, batch.BatchProcessor):
        return batch._DRAIN_SECONDS
    if isinstance(component, OtlpReceiver):
        # gRPC and HTTP one after the other; gRPC waits for its connections, then for what it has taken.
        return 3 * component.drain_timeout
    if node.kind in {Kind.RECEIVER, Kind.EXPORTER}:
        return component.drain_timeout
    return 0
