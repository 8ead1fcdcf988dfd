"""Rotel, an OpenTelemetry agent in Rust, from its wheel; only benchmarks use it."""

import sys
from pathlib import Path

from tools.peers.cache import cache_folder, execute, locked
from tools.peers.process import HOST, Process, Unavailable, free_port, listening

VERSION = "0.0.1a15"


def binary() -> Path:
    """Give the agent's binary.

    Raises:
        Unavailable: it is not installed.
    """
    for found in cache_folder("rotel").glob("lib/python*/site-packages/rotel/rotel-agent"):
        return found
    raise Unavailable("Rotel is not installed: `make peers` installs it")


def install() -> Path:
    """Install it unless it is there.

    Raises:
        Unavailable: there is no wheel for this machine.
    """
    try:
        return binary()
    except Unavailable:
        with locked("rotel") as folder:
            execute([sys.executable, "-m", "venv", folder], cwd=folder)
            pip = [str(folder / "bin" / "python"), "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
            execute([*pip, f"rotel=={VERSION}"], cwd=folder)
    return binary()


class Rotel(Process):
    """A running Rotel: OTLP over gRPC in on *port*, OTLP over gRPC out to *target* (host:port)."""

    def __init__(self, port: int, target: str, *, log: Path, batching: bool = True) -> None:
        # The HTTP port is opened in any case, so it must not be the default one.
        endpoints = ["--otlp-grpc-endpoint", f"{HOST}:{port}", "--otlp-http-endpoint", f"{HOST}:{free_port()}"]
        exporter = ["--otlp-exporter-endpoint", f"http://{target}", "--otlp-exporter-compression", "none"]
        command = [str(binary()), "start", *endpoints, "--exporter", "otlp", *exporter]
        super().__init__([*command, *([] if batching else ["--disable-batching"])], log=log, ready=listening(port))
