"""All targets by name; each is imported when it is asked for, so that only what it needs is instrumented."""

from importlib import import_module
from typing import Final

from fuzz.target import Target

MODULES: Final = {
    "otlp_protobuf": "otlp",
    "otlp_json": "otlp",
    "spans": "spans",
    "traces": "traces",
    "zipkin_json": "zipkin",
    "zipkin_v1": "zipkin",
    "zipkin_protobuf": "zipkin",
    "jaeger_json": "jaeger",
    "bodies": "bodies",
    "trace_files": "trace_files",
    "configuration": "configuration",
    "artifact": "artifact",
    "http2_server": "http2",
    "http2_client": "http2",
    "grpc_messages": "grpc_messages",
    "grpc_connection": "connections",
    "http_connection": "connections",
    "stored": "stored",
}


def find(name: str) -> Target:
    """Give the target of that name."""
    target = getattr(import_module(f"fuzz.targets.{MODULES[name]}"), name.upper())
    if not isinstance(target, Target):
        raise TypeError(f"{name} is no target")
    return target
