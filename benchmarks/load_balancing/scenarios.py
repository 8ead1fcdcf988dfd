"""What happens to the replicas while spans come, and the run of it."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks.load_balancing.account import Outcome, account
from benchmarks.load_balancing.replicas import Replica
from benchmarks.load_balancing.routing import RoutingSender

_PRE_STOP: Final = 1.0  # seconds between the new routes and SIGTERM, a tenth of that in deploy/kubernetes
_AWAY: Final = 2.0  # seconds until a killed replica is started again


@dataclass(slots=True)
class Stand:
    """Replicas and who sends to them.

    Attributes:
        running: replicas that take part.
        spare: one that may join.
        sender: who routes.
        killed: what a killed replica had taken until then, as requests.
        exit_codes: of replicas that were ended.
    """

    running: list[Replica]
    spare: Replica
    sender: RoutingSender
    killed: list[bytes] = field(default_factory=list)
    exit_codes: list[int] = field(default_factory=list)

    def reroute(self) -> None:
        """Tell the sender who runs."""
        self.sender.route_to(replica.endpoint for replica in self.running)


def _nothing(_stand: Stand) -> None:
    pass


def _restart(stand: Stand) -> None:
    first = stand.running[0]
    stand.exit_codes.append(first.stop())
    first.start()


def _join(stand: Stand) -> None:
    stand.running.append(stand.spare)
    stand.reroute()


def _leave(stand: Stand) -> None:
    last = stand.running.pop()
    stand.reroute()
    time.sleep(_PRE_STOP)
    stand.exit_codes.append(last.stop())


def _kill(stand: Stand) -> None:
    first = stand.running[0]
    if first.process is None:
        raise RuntimeError("it does not run")
    first.process.signal(9)
    first.process.wait()
    time.sleep(_AWAY / 2)
    stand.killed += [body for _, body in stand.sender.lanes[first.endpoint].accepted]
    time.sleep(_AWAY / 2)
    first.start()


@dataclass(frozen=True, slots=True)
class Happening:
    """What happens in a run.

    Attributes:
        words: for the report.
        happen: does it.
        spare: whether a third replica is ready for it.
    """

    words: str
    happen: Callable[[Stand], None]
    spare: bool = False


SCENARIOS: Final[Mapping[str, Happening]] = {
    "steady": Happening("two replicas, nothing happens", _nothing),
    "restart": Happening("one of two is drained by SIGTERM and started again, under the same name", _restart),
    "join": Happening("a third joins", _join, spare=True),
    "leave": Happening("one of two leaves: new routes, then SIGTERM", _leave),
    "kill": Happening("one of two is killed (SIGKILL) and started again, under the same name", _kill),
}


def run(name: str, traffic: Sequence[tuple[float, bytes]], model: Path, wait: str, folder: Path) -> Outcome:
    """Send *traffic*, (seconds since the start, request) in order, and let the scenario happen in the middle of it.

    Raises:
        RuntimeError: a replica did not drain: its exit code was not 0.
    """
    begins = traffic[-1][0] / 2
    with ExitStack() as stack:
        replicas = [Replica(folder, f"{name}-{number}", model, wait) for number in range(3)]
        for replica in replicas:
            stack.enter_context(replica.backend)
        for replica in replicas if SCENARIOS[name].spare else replicas[:2]:
            replica.start()
        stand = Stand(replicas[:2], replicas[2], RoutingSender(replica.endpoint for replica in replicas[:2]))
        failures: list[BaseException] = []
        happening = threading.Thread(target=_guarded, args=(SCENARIOS[name].happen, stand, failures))
        try:
            started = time.monotonic()
            for at, body in traffic:
                if at >= begins and happening.ident is None:
                    happening.start()
                time.sleep(max(0.0, started + at - time.monotonic()))
                stand.sender.send(body)
            happening.join()
            stand.sender.close()
            stand.exit_codes += [replica.stop() for replica in stand.running]
        finally:
            for replica in replicas:
                if replica.process is not None and replica.process.exit_code is None:
                    replica.process.signal(9)
                    replica.process.wait()
        if failures:
            raise failures[0]
        if any(stand.exit_codes):
            raise RuntimeError(f"{name}: exit codes {stand.exit_codes}; logs in {folder}")
        received = {replica.endpoint: replica.backend.bodies for replica in replicas}
        retries = sum(lane.retries for lane in stand.sender.lanes.values())
        return account((body for _, body in traffic), received, stand.killed, retries)


def _guarded(happen: Callable[[Stand], None], stand: Stand, failures: list[BaseException]) -> None:
    try:
        happen(stand)
    except BaseException as error:  # noqa: BLE001 (said by who waits for it)
        failures.append(error)
