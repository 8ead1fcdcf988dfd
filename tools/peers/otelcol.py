"""The OpenTelemetry Collector, built by its own builder from the Go module proxy (`otelcol.yaml`)."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from tools.peers.cache import cache_folder, execute, locked, need
from tools.peers.process import Process, Unavailable, listening

_MANIFEST = Path(__file__).parent / "otelcol.yaml"


def binary() -> Path:
    """Give the binary that `install` built.

    Raises:
        Unavailable: it was not built on this machine from this manifest.
    """
    folder = cache_folder("otelcol")
    built = folder / "build" / "otelcol"
    record = folder / "built.yaml"
    if not built.exists() or not record.exists() or _content(record) != _content(_MANIFEST):
        raise Unavailable("the Collector is not built: `make peers` builds it (Go, 6 to 7 minutes)")
    return built


def install() -> Path:
    """Build it unless it is there.

    Raises:
        Unavailable: no Go, or the build fails.
    """
    try:
        return binary()
    except Unavailable:
        need("go")
    with locked("otelcol") as folder:
        try:
            return binary()
        except Unavailable:
            version = _content(_MANIFEST)["dist"]["version"]
            builder = f"go.opentelemetry.io/collector/cmd/builder@v{version}"
            execute(["go", "install", builder], cwd=folder, env={"GOBIN": str(folder.resolve())})
            # -e: `go mod tidy` also resolves the components' tests; a module that only a test imports may not be served.
            flags = execute(["go", "env", "GOFLAGS"], cwd=folder).strip()
            execute(
                [folder.resolve() / "builder", "--config", _MANIFEST.resolve()],
                cwd=folder,
                env={"GOFLAGS": f"{flags} -e".strip()},
            )
            (folder / "built.yaml").write_bytes(_MANIFEST.read_bytes())
    return binary()


class Collector(Process):
    """A running Collector, ready when *ports* accept connections."""

    def __init__(self, config: Path, *, log: Path, ports: Sequence[int], env: Mapping[str, str] | None = None) -> None:
        super().__init__([binary(), "--config", config], log=log, ready=listening(*ports), env=env)


def validate(config: Path, env: Mapping[str, str] | None = None) -> str:
    """Let the real binary validate *config*; gives what it complains about, or an empty string."""
    done = subprocess.run(
        [str(binary()), "validate", "--config", str(config)],
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    return "" if done.returncode == 0 else (done.stderr or done.stdout or f"exit code {done.returncode}")


def _content(manifest: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(manifest.read_text())
    return content
