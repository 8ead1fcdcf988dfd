"""The other parts of the endurance benchmarks: faults drawn from a seed, trends, and a network that breaks."""

import contextlib
import itertools
import random
import socket
import threading
from collections.abc import Iterator

import pytest

from benchmarks.endurance.faults import CUTTING, LASTS, Fault, Kind, all_struck, drawn, events
from benchmarks.endurance.network import Network
from benchmarks.endurance.samples import Series, trend
from tools.peers import free_port
from tools.peers.process import HOST


def test_the_same_seed_gives_the_same_faults_and_every_kind_comes():
    faults = drawn(7, 10, 1800, 20, list(Kind))
    assert faults == drawn(7, 10, 1800, 20, list(Kind))
    assert faults != drawn(8, 10, 1800, 20, list(Kind))
    assert {fault.kind for fault in faults} == set(Kind)
    assert all(fault.at >= 10 and fault.end <= 1800 for fault in faults)
    assert all(LASTS[fault.kind][0] <= fault.lasts <= LASTS[fault.kind][1] for fault in faults)
    together = sum(one.at == other.at for one, other in itertools.pairwise(faults))
    assert 0 < together < len(faults) / 2


def test_nothing_breaks_the_connections_of_a_frozen_stage():
    for seed in range(50):
        faults = drawn(seed, 10, 1800, 20, list(Kind))
        frozen = [fault for fault in faults if fault.kind is Kind.FROZEN]
        cutting = [fault for fault in faults if fault.kind in CUTTING]
        assert frozen
        assert not [(one, other) for one in frozen for other in cutting if one.at <= other.end and other.at <= one.end]


def test_every_kind_has_struck_when_its_first_one_is_over():
    faults = [Fault(5, 10, Kind.AWAY), Fault(7, 0, Kind.CUT), Fault(30, 2, Kind.AWAY)]
    assert all_struck(faults) == 15
    assert all_struck([]) == 0


def test_what_happens_is_put_beside_the_faults_of_that_time():
    faults = [Fault(5, 10, Kind.AWAY), Fault(100, 0, Kind.CUT), Fault(101, 2, Kind.FROZEN)]
    assert events([104.0, 20.0, 101.0, 500.0], faults, 30) == [
        (20.0, 1, ["backend away"]),
        (101.0, 2, ["connections to the backend cut", "SIGSTOP, then SIGCONT"]),
        (500.0, 1, []),
    ]


def test_no_kinds_no_faults():
    assert drawn(7, 0, 100, 1, []) == []


def noisy(per_hour: float, level: float = 200.0) -> tuple[list[float], list[float]]:
    chance = random.Random(3)
    at = [float(second) for second in range(3600)]
    return at, [
        level + per_hour * second / 3600 + chance.gauss(0, 5) + (80 if second % 400 < 30 else 0) for second in at
    ]


def test_noise_and_peaks_are_no_growth():
    line = trend(*noisy(0.0))
    assert line.low < 0 < line.high
    assert not line.grows


def test_a_growth_is_seen():
    line = trend(*noisy(20.0))
    assert line.grows
    assert line.low < 20 < line.high


def test_a_small_growth_is_none_and_a_constant_has_no_width():
    assert not trend(*noisy(2.0)).grows
    assert trend([float(n) for n in range(100)], [42.0] * 100).per_hour == 0


def test_what_could_not_be_read_leaves_a_gap():
    series = Series([1.0, 2.0, 3.0], {"rss": [5.0, float("nan"), 7.0]})
    assert series.between("rss", 0) == ([1.0, 3.0], [5.0, 7.0])
    assert series.thinned()["rss"] == [5.0, None, 7.0]


# --- the network ------------------------------------------------------------------------------------------------------


class Echo:
    """A backend that answers with what it got; a request ends with a newline."""

    def __init__(self) -> None:
        self.port = free_port()
        self.got: list[bytes] = []
        self._listener = socket.create_server((HOST, self.port))
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, client.makefile("rb") as lines, contextlib.suppress(OSError):
            for line in lines:
                if line.endswith(b"\n"):
                    self.got.append(line)
                    client.sendall(line)

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def echo() -> Iterator[Echo]:
    server = Echo()
    yield server
    server.close()


@pytest.fixture
def network(echo: Echo) -> Iterator[Network]:
    with Network(free_port(), echo.port) as between:
        yield between


def ask(network: Network, line: bytes) -> bytes:
    with socket.create_connection((HOST, network.port), 5) as client:
        client.settimeout(5)
        client.sendall(line)
        return client.recv(1 << 16)


def test_it_passes_on_is_taken_away_and_comes_back(network: Network) -> None:
    assert ask(network, b"one\n") == b"one\n"
    network.gone()
    with pytest.raises(ConnectionRefusedError):
        ask(network, b"two\n")
    network.back()
    assert ask(network, b"three\n") == b"three\n"


def test_a_cut_comes_in_the_middle_of_a_request_and_never_between_it_and_its_answer(
    network: Network, echo: Echo
) -> None:
    sent: list[bytes] = []
    answered: list[bytes] = []
    stop = threading.Event()

    def talk() -> None:
        number = 0
        while not stop.is_set():
            with contextlib.suppress(OSError), socket.create_connection((HOST, network.port), 5) as client:
                client.settimeout(5)
                with client.makefile("rb") as lines:
                    while not stop.is_set():
                        number += 1
                        line = b"%d\n" % number
                        sent.append(line)
                        client.sendall(line)
                        answer = lines.readline()
                        if not answer:
                            break
                        answered.append(answer)

    talker = threading.Thread(target=talk)
    talker.start()
    try:
        for _ in range(3):
            before = len(answered)
            while len(answered) < before + 20:
                pass
            network.cut()
    finally:
        stop.set()
        talker.join()
    assert answered == echo.got  # what arrived was answered, and the answer arrived
    assert len(sent) > len(answered)  # and some was cut


def test_nonsense_is_answered_until_it_is_back(network: Network, echo: Echo) -> None:
    network.nonsense()
    assert ask(network, b"one\n") != b"one\n"
    assert echo.got == []
    network.back()
    assert ask(network, b"two\n") == b"two\n"


def test_slow_answers_come_in_the_end(network: Network) -> None:
    network.slow(0.2)
    assert ask(network, b"one\n") == b"one\n"
