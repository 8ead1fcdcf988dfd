"""Where, when and by which code something was measured; a figure without that cannot be measured again."""

import os
import platform
import shlex
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from otel_tracead._version import __version__

_LIBRARIES: Final = ("torch", "onnxruntime", "onnxruntime-gpu", "numpy")


def provenance(arguments: Sequence[str], now: datetime | None = None) -> list[tuple[str, str]]:
    """Give name and value of what one must know to measure again.

    Args:
        arguments: of the command.
        now: when it was measured; by default the time.
    """
    return [
        ("command", shlex.join(["otel-tracead", *arguments])),
        ("commit", commit(Path(__file__).parents[2]) or f"none known, version {__version__}"),
        ("machine", f"{platform.machine()}, {os.cpu_count()} cores"),
        ("date", f"{now or datetime.now(UTC):%Y-%m-%d}"),
        ("versions", ", ".join([f"Python {platform.python_version()}", *_installed()])),
    ]


def commit(checkout: Path) -> str | None:
    """Give the commit of a git checkout, or None: read from its files, since git may not be installed."""
    git = checkout / ".git"
    try:
        head = (git / "HEAD").read_text(encoding="ascii").strip()
        name = head.removeprefix("ref: ")
        if name != head:
            loose = git / name
            packed = (git / "packed-refs").read_text(encoding="utf-8") if not loose.is_file() else ""
            lines = [line.partition(" ") for line in packed.splitlines()]
            head = (
                next((sha for sha, _, ref in lines if ref == name), "") if packed else loose.read_text(encoding="ascii")
            )
    except (OSError, UnicodeDecodeError):
        return None
    return head.strip()[:7] or None


def _installed() -> list[str]:
    found = []
    for name in _LIBRARIES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return found
