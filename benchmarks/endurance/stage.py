"""The stage that is tried: `otel-tracead run` with all its network receivers, started again and again in one place."""

import shutil
import sys
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from benchmarks.endurance.numbered import Way
from tools.peers import Process, free_port
from tools.peers.process import HOST, listening


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """How it is configured.

    Attributes:
        model: the model artifact; copied, so that it may be replaced.
        wait: `wait_duration`, seconds.
        storage: whether what it accepted is kept on disk, too.
        fsync: of `file_storage`.
        memory_mib: of `memory_limiter`; none for no limiter.
        queue_spans: capacity of the exporter's queue.
        module: what is run by `python -m`: the stage, or something that stands in for it.
    """

    model: Path
    wait: float
    storage: bool
    fsync: bool = False
    memory_mib: int | None = None
    queue_spans: int = 1_000_000
    module: Sequence[str] = ("otel_tracead",)

    def words(self) -> str:
        """Say it in a line."""
        kept = ("file_storage, " + ("with" if self.fsync else "without") + " fsync") if self.storage else "no storage"
        limit = f"memory_limiter {self.memory_mib} MiB" if self.memory_mib else "no memory_limiter"
        return f"model {self.model.name}, wait_duration {self.wait:g}s, {kept}, {limit}"


@dataclass
class Stage:
    """A place where the stage lives, one life after another.

    Attributes:
        folder: for its files.
        setup: how it is configured.
        target: port of the backend.
        ports: of its receivers.
        lives: how often it was started.
    """

    folder: Path
    setup: Setup
    target: int
    ports: Mapping[Way, int] = field(default_factory=lambda: {way: free_port() for way in Way})
    lives: int = 0
    _metrics: int = field(default_factory=free_port)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.store.mkdir(exist_ok=True)
        shutil.copytree(self.setup.model, self.model, dirs_exist_ok=True)
        self.configure()

    @property
    def store(self) -> Path:
        """Where `file_storage` keeps its files."""
        return self.folder / "store"

    @property
    def model(self) -> Path:
        """The copy of the model."""
        return self.folder / "model"

    def configure(self, decision_cache: int = 100_000) -> None:
        """Write its configuration; another *decision_cache* makes it another one."""
        tracead: dict[str, Any] = {
            "model": str(self.model.resolve()),
            "execution_provider": "cpu",
            "wait_duration": f"{self.setup.wait:g}s",
            "decision_cache": decision_cache,
        }
        queue: dict[str, Any] = {"sizer": "items", "queue_size": self.setup.queue_spans}
        extensions: dict[str, Any] = {}
        if self.setup.storage:
            extensions["file_storage"] = {"directory": str(self.store.resolve()), "fsync": self.setup.fsync}
            tracead["storage"] = queue["storage"] = "file_storage"
        processors: dict[str, Any] = {"tracead": tracead, "batch": {}}
        if self.setup.memory_mib:
            limiter = {"check_interval": "1s", "limit_mib": self.setup.memory_mib}
            processors = {"memory_limiter": limiter, **processors}
        endpoints = {way: f"{HOST}:{port}" for way, port in self.ports.items()}
        otlp = {
            "grpc": {"endpoint": endpoints[Way.GRPC], "max_recv_msg_size_mib": 64},
            "http": {"endpoint": endpoints[Way.HTTP]},
        }
        exporter = {
            "endpoint": f"{HOST}:{self.target}",
            "tls": {"insecure": True},
            "compression": "none",
            "sending_queue": queue,
        }
        reader = {"pull": {"exporter": {"prometheus": {"host": HOST, "port": self._metrics}}}}
        document = {
            "extensions": extensions,
            "receivers": {"otlp": {"protocols": otlp}, "zipkin": {"endpoint": endpoints[Way.ZIPKIN]}},
            "processors": processors,
            "exporters": {"otlp_grpc": exporter},
            "service": {
                "extensions": list(extensions),
                "telemetry": {"metrics": {"readers": [reader]}},
                "pipelines": {
                    "traces": {
                        "receivers": ["otlp", "zipkin"],
                        "processors": list(processors),
                        "exporters": ["otlp_grpc"],
                    }
                },
            },
        }
        (self.folder / "stage.yaml").write_text(yaml.safe_dump(document, sort_keys=False))

    def start(self) -> Process:
        """Begin another life; does not wait until it is ready."""
        self.lives += 1
        command = [sys.executable, "-m", *self.setup.module, "run", "--config", str(self.folder / "stage.yaml")]
        log = self.folder / f"life-{self.lives:03}.log"
        return Process(command, log=log, ready=self.ready)

    def ready(self) -> bool:
        """Whether its receivers listen."""
        return listening(*self.ports.values())()

    def metrics(self) -> dict[str, float]:
        """Read its metrics, each summed over its labels; empty while nobody answers."""
        try:
            with urllib.request.urlopen(f"http://{HOST}:{self._metrics}/metrics", timeout=2) as answer:
                lines = answer.read().decode().splitlines()
        except OSError:
            return {}
        found: dict[str, float] = {}
        for line in lines:
            if line and not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                name = name.partition("{")[0]
                found[name] = found.get(name, 0.0) + float(value)
        return found

    def stored_bytes(self) -> int:
        """How much its store takes on disk."""
        return sum(_blocks(path) for path in self.store.rglob("*"))


def _blocks(path: Path) -> int:
    try:
        return path.stat().st_blocks * 512
    except FileNotFoundError:  # a journal that went meanwhile
        return 0
