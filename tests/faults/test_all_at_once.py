"""A minute of faults, chosen by a seed, several at a time, under load: what was taken arrives, and the books are right."""

import os
import random
import resource
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml

from tests.faults.line import Line
from tests.faults.processes import Senders, arrived, books, fewer_files, idle, otlp_to, tracead, until
from tests.peers.independent import GrpcSink
from tests.peers.stage import Stage

pytestmark = pytest.mark.peers
SEED = int(os.environ.get("TRACEAD_SEED", "7"))
SECONDS = 55.0
GARBAGE = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello" * 3


class Trouble:
    """The faults there are; each begins when it is called and ends with what it gives.

    Attributes:
        tried: how often each was.
    """

    def __init__(self, stage: Stage, folder: Path, senders: Line, backend: Line, chance: random.Random) -> None:
        self.stage, self.folder, self.senders, self.backend, self.chance = stage, folder, senders, backend, chance
        self.tried: dict[str, int] = {}
        self._written = yaml.safe_load((folder / "stage.yaml").read_text())
        self._timeout = 1000

    def some(self) -> tuple[str, Callable[[], None]]:
        """Begin one; gives its name and what ends it."""
        name = self.chance.choice(
            [
                "away",
                "silent",
                "slow",
                "garbage",
                "deaf",
                "cut",
                "senders cut",
                "senders slow",
                "stopped",
                "reloaded",
                "no files",
            ]
        )
        self.tried[name] = self.tried.get(name, 0) + 1
        begin = getattr(self, "_" + name.replace(" ", "_"))
        return name, begin() or (lambda: None)

    def _away(self) -> Callable[[], None]:
        self.backend.refuses = True
        self.backend.cut()
        return self.backend.restore

    def _silent(self) -> Callable[[], None]:
        self.backend.stalled = True
        return self.backend.restore

    def _slow(self) -> Callable[[], None]:
        self.backend.rate = 200_000
        return self.backend.restore

    def _garbage(self) -> Callable[[], None]:
        self.backend.answers = GARBAGE
        self.backend.cut()
        return self.backend.restore

    def _deaf(self) -> Callable[[], None]:
        self.backend.deaf = True
        return self.backend.restore

    def _cut(self) -> Callable[[], None]:
        self.backend.cut_after = self.chance.randrange(100, 20_000)
        self.backend.cut()
        return self.backend.restore

    def _senders_cut(self) -> Callable[[], None]:
        self.senders.cut_after = self.chance.randrange(100, 20_000)
        self.senders.cut()
        return self.senders.restore

    def _senders_slow(self) -> Callable[[], None]:
        self.senders.rate = 20_000
        return self.senders.restore

    def _stopped(self) -> Callable[[], None]:
        self.stage.signal(signal.SIGSTOP)
        time.sleep(self.chance.uniform(0.1, 2.0))
        self.stage.signal(signal.SIGCONT)
        return lambda: None

    def _reloaded(self) -> Callable[[], None]:
        self._timeout += 1
        self._written["exporters"]["otlp_grpc"]["timeout"] = f"{self._timeout}ms"
        self._written["processors"]["tracead"]["wait_duration"] = self.chance.choice(["200ms", "500ms"])
        (self.folder / "stage.yaml").write_text(yaml.safe_dump(self._written, sort_keys=False))
        self.stage.signal(signal.SIGHUP)
        return lambda: None

    def _no_files(self) -> Callable[[], None]:
        before = fewer_files(self.stage.pid, len(list(Path(f"/proc/{self.stage.pid}/fd").iterdir())))
        return lambda: resource.prlimit(self.stage.pid, resource.RLIMIT_NOFILE, before)


def test_what_was_taken_arrives_whatever_happens(tiny_artifact: Path, tmp_path: Path) -> None:
    chance = random.Random(SEED)
    copy = {"file": {"path": str(tmp_path / "copy.jsonl"), "sending_queue": {"queue_size": 200_000, "sizer": "items"}}}
    with ExitStack() as running:
        sink = running.enter_context(GrpcSink())
        backend = running.enter_context(Line(sink.target))
        out = otlp_to(backend.endpoint, sending_queue={"queue_size": 3_000, "sizer": "items"}) | copy
        stage = running.enter_context(Stage(tmp_path, out, tracead(tiny_artifact, num_traces=200)))
        line = running.enter_context(Line(stage.grpc))
        trouble = Trouble(stage, tmp_path, line, backend, chance)
        with Senders(line.endpoint, threads=4, pause=0.01) as senders:
            until(lambda: senders.taken.total() > 100)
            over = time.monotonic() + SECONDS
            while time.monotonic() < over:
                ends = [trouble.some()[1] for _ in range(chance.choice([1, 1, 2, 3]))]
                time.sleep(chance.uniform(0.2, 2.5))
                for end in ends:
                    end()
                time.sleep(chance.uniform(0.0, 1.0))
            taken = senders.taken.total()
            until(lambda: senders.taken.total() > taken + 100, 60)  # it works again, by itself
        until(lambda: idle(stage), 60)
        until(lambda: books(stage).queued("file") == 0)
        found = books(stage)
        found.check("otlp_grpc", "file")
        stage.drain()
    told = f"seed {SEED}, faults {trouble.tried}, taken {senders.taken.total()}, refused {dict(senders.refused)}"
    assert found.given_up("otlp_grpc") == found.given_up("file") == 0, told
    assert not senders.taken - arrived(sink), told
    assert set(arrived(sink)) <= set(senders.sent), told
    # Twice is what a sender gets for an answer that it did not hear: no more than were sent twice somewhere.
    assert found.accepted >= senders.taken.total() > 2_000, told
    assert len(trouble.tried) >= 8, told
