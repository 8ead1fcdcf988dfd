"""Exporters of the OpenTelemetry Python SDK, found by the entry points that their packages declare."""

import inspect
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import Any, Final

from opentelemetry.sdk.trace.export import SpanExporter

GROUP: Final = "opentelemetry_traces_exporter"
"""The entry point group in which packages of the SDK's ecosystem ship trace exporters."""


def find(name: str) -> Callable[..., SpanExporter]:
    """Give what makes the exporter *name*.

    Raises:
        LookupError: none of that name is installed, or two different ones are.
        ImportError: it is there and cannot be loaded.
    """
    installed = entry_points(group=GROUP)
    found = {entry.value: entry for entry in installed if entry.name == name}
    if not found:
        names = ", ".join(sorted(installed.names)) or "none"
        raise LookupError(f"no exporter {name!r} of the OpenTelemetry SDK is installed (there are: {names})")
    if len(found) > 1:
        raise LookupError(f"two exporters are called {name!r}: {' and '.join(sorted(found))}; uninstall one")
    entry = next(iter(found.values()))
    try:
        made_by = entry.load()
    except Exception as error:  # whatever somebody else's module does when it is imported
        raise ImportError(f"{entry.value} cannot be loaded: {type(error).__name__}: {error}") from error
    return made_by  # type: ignore[no-any-return]


def make(name: str, arguments: Mapping[str, Any]) -> SpanExporter:
    """Make the exporter *name*.

    Raises:
        LookupError, ImportError: see `find`.
        ValueError: it does not take *arguments*.
    """
    maker = find(name)
    try:
        return maker(**arguments)
    except Exception as error:  # noqa: BLE001 (whatever a constructor does)
        # Not its text, nor where it came from: either may hold what stands in the arguments.
        raise ValueError(f"the exporter {name} does not take its arguments: {type(error).__name__}") from None


def problems(name: str, arguments: Mapping[str, Any]) -> list[str]:
    """Say what keeps the exporter *name* from being made with *arguments*, without making it."""
    try:
        signature = inspect.signature(find(name))
    except (LookupError, ImportError) as error:
        return [f"exporter: {error}"]
    except ValueError:  # written in C: nobody knows its arguments
        return []
    try:
        signature.bind(**arguments)
    except TypeError as error:
        return [f"arguments: {error}; {name} takes {', '.join(signature.parameters) or 'none'}"]
    return []
