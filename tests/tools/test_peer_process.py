import sys
from pathlib import Path

import pytest

from tools.peers import Process, free_port
from tools.peers.process import HOST, listening

SERVER = """
import http.server, signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
print("hello from the server", flush=True)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), http.server.SimpleHTTPRequestHandler).serve_forever()
"""


def test_it_is_ready_when_its_port_answers_and_ended_by_sigterm(tmp_path: Path) -> None:
    port = free_port()
    command = [sys.executable, "-c", SERVER, str(port)]
    with Process(command, log=tmp_path / "log", ready=listening(port)) as server:
        assert listening(port)()
        assert server.exit_code is None
    assert server.exit_code == 7
    assert not listening(port)()
    assert "hello from the server" in server.tail()


def test_one_that_ends_before_it_is_ready_shows_its_log(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "print('no such model'); raise SystemExit(3)"]
    process = Process(command, log=tmp_path / "log", ready=lambda: False)
    with pytest.raises(RuntimeError, match=r"ended with 3:\nno such model"):
        process.wait_until_ready()


def test_one_that_is_never_ready_is_ended(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    process = Process(command, log=tmp_path / "log", ready=lambda: False, patience=0.3)
    with pytest.raises(RuntimeError, match=r"not ready after 0\.3 s"):
        process.wait_until_ready()
    assert process.exit_code is not None


def test_free_ports_are_none_that_the_kernel_hands_out() -> None:
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert all(1024 < free_port() < lowest for _ in range(20))
    assert HOST == "127.0.0.1"


def test_a_free_port_is_not_given_out_again_soon() -> None:
    ports = [free_port() for _ in range(400)]
    assert all(len(set(ports[first : first + 60])) == 60 for first in range(340))
