"""Everything around the stage of a run: traffic, ledger, sender, network, sink."""

import json
import math
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.endurance import numbered
from benchmarks.endurance.account import Account, account
from benchmarks.endurance.ledger import Ledger, Size
from benchmarks.endurance.network import Network
from benchmarks.endurance.numbered import Round
from benchmarks.endurance.sender import Sent
from benchmarks.endurance.stage import Setup, Stage
from tools.peers import Process, free_port, guarded
from tools.peers.process import HOST, listening

_POLL: Final = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is sent.

    Attributes:
        rate: spans a second; infinity for full speed.
        pace: spans a second of the shop; the rate, but where that is infinite.
        seconds: for how long, at most.
        per_request: spans of a request, at most.
        round_seconds: of the shop in a round.
        seed: of the shop.
    """

    rate: float
    seconds: float
    per_request: int
    pace: float = 0.0
    round_seconds: float = 10.0
    seed: int = 1


class Sending:
    """A sender at work."""

    def __init__(self, child: "subprocess.Popen[str]") -> None:
        self._child = child

    def say(self, word: str) -> None:
        """Steer it: `giant` or `stop`."""
        if self._child.stdin and self._child.poll() is None:
            self._child.stdin.write(f"{word}\n")
            self._child.stdin.flush()

    def check(self) -> None:
        """Make sure that it is well.

        Raises:
            RuntimeError: it failed.
        """
        if self._child.poll():
            self.result()

    def result(self) -> Sent:
        """Let it end, and give what it did.

        Raises:
            RuntimeError: it failed.
        """
        self.say("stop")
        out, errors = self._child.communicate()
        if self._child.returncode != 0:
            raise RuntimeError(f"the sender failed:\n{errors}")
        return Sent(**json.loads(out))


class Rig:
    """What surrounds the stage.

    Attributes:
        folder: of everything.
        load: that is sent.
        traffic: a round of it.
        ledger: where it is noted.
        stage: a place for it.
        network: between stage and sink.
    """

    def __init__(
        self, folder: Path, load: Load, traffic: Round, ledger: Ledger, stage: Stage, network: Network
    ) -> None:
        self.folder = folder
        self.load = load
        self.traffic = traffic
        self.ledger = ledger
        self.stage = stage
        self.network = network

    @contextmanager
    def sending(self, patience: float = 60.0) -> Iterator[Sending]:
        """Send the load; ended with the block."""
        options = {
            "--traffic": self.folder / "traffic.npz",
            "--ledger": self.folder / "ledger",
            **{f"--{way.name.lower()}": f"{HOST}:{port}" for way, port in self.stage.ports.items()},
            "--rate": self.load.rate,
            "--seconds": self.load.seconds,
            "--patience": patience,
        }
        words = [str(word) for pair in options.items() for word in pair]
        with guarded(
            subprocess.Popen(
                [sys.executable, "-m", "benchmarks.endurance.sender", *words],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        ) as child:
            try:
                yield Sending(child)
            finally:
                child.kill()

    def accepted(self) -> int:
        """How many spans were acknowledged so far."""
        return self.ledger.accepted(self.traffic.span_ends)

    def account(self) -> Account:
        """Count what there is now."""
        return account(self.traffic, self.ledger, self.stage.setup.wait)

    def settle(self, silence: float, patience: float, check: Callable[[], None] = lambda: None) -> float:
        """Wait until everything that was accepted is out, or nothing has come out for *silence* seconds.

        Args:
            silence: seconds.
            patience: seconds, at most.
            check: asked again and again; raises to give up.

        Returns:
            Seconds that it took.
        """
        begun = time.monotonic()
        while time.monotonic() - begun < patience:
            check()
            if self.ledger.out() >= self.accepted() and not self.account().missing:
                break
            if self.ledger.silent() > silence and time.monotonic() - begun > silence:
                break
            time.sleep(4 * _POLL)
        return time.monotonic() - begun


@contextmanager
def rig(folder: Path, load: Load, setup: Setup) -> Iterator[Rig]:
    """Put everything up but the stage itself."""
    pace = load.pace or load.rate
    seconds = load.round_seconds
    traffic = numbered.record(pace, seconds, per_request=load.per_request, seed=load.seed)
    folder.mkdir(parents=True, exist_ok=True)
    traffic.save(folder / "traffic.npz")
    most = load.rate if load.rate < math.inf else 10 * pace
    size = Size(traffic.shape, numbered.turns(traffic.shape, most, load.seconds))
    ledger = Ledger.create(folder / "ledger", size)
    behind, front = free_port(), free_port()
    command = [sys.executable, "-m", "benchmarks.endurance.sink", "--port", str(behind), "--ledger", folder / "ledger"]
    stage = Stage(folder / "stage", setup, front)
    with (
        Process(list(map(str, command)), log=folder / "sink.log", ready=listening(behind)),
        Network(front, behind, load.seed) as network,
    ):
        yield Rig(folder, load, traffic, ledger, stage, network)


def started(stage: Stage) -> Process:
    """Begin a life of the stage and wait until it takes spans.

    Raises:
        RuntimeError: it does not.
    """
    return stage.start().wait_until_ready()
