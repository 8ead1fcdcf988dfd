"""The real traces under `$TRACEAD_DATA`, as OTLP requests."""

import gzip
import json
from pathlib import Path
from typing import Any

from tests.peers.independent import from_json


def minute(path: Path) -> list[bytes]:
    """A minute of a system, in the requests in which it came."""
    with gzip.open(path, "rb") as lines:
        return [from_json(line).SerializeToString() for line in lines]


def first_fault(system: Path) -> dict[str, Any]:
    """The first fault of a system: `files`, `injected_at_unix_nano`, …"""
    fault: dict[str, Any] = json.loads((system / "faults.json").read_text())["faults"][0]
    return fault
