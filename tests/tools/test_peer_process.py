import re
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.source_tree import ROOT
from tools.peers import Process, free_port, guarded
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


STARTER = """
import subprocess, sys, time
from pathlib import Path
from threading import Thread
from tools.peers import Process, guarded

STUBBORN = "import signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
folder, found = Path(sys.argv[1]), []

def start(number):
    log = folder / str(number)
    found.append(Process([sys.executable, "-c", STUBBORN], log=log, ready=lambda: log.read_text() == "up\\n"))

guarded(subprocess.Popen(["true"])).wait()
for number in range(2):
    thread = Thread(target=start, args=[number])
    thread.start()
    thread.join()
for one in found:
    one.wait_until_ready()
print(*(one.pid for one in found), flush=True)
time.sleep(60)
"""


def test_children_do_not_outlive_who_started_them_but_the_thread_that_did(tmp_path: Path) -> None:
    command = [sys.executable, "-c", STARTER, str(tmp_path)]
    with guarded(subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT)) as starter:
        assert starter.stdout is not None
        children = [psutil.Process(int(pid)) for pid in starter.stdout.readline().split()]
        assert len(children) == 2
        assert all(child.is_running() for child in children)
        starter.kill()
    psutil.wait_procs(children, timeout=10)
    assert not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children)


def test_whatever_is_started_is_guarded() -> None:
    alone = re.compile(r"(?<!guarded\()subprocess\.Popen\(|create_subprocess_")
    found = {
        f"{path.relative_to(ROOT)}: {line}"
        for folder in ("tests", "tools", "benchmarks")
        for path in (ROOT / folder).rglob("*.py")
        for line in alone.findall(re.sub(r"\s+", "", path.read_text(encoding="utf-8")))
        if path not in (Path(__file__), ROOT / "tools/peers/guard.py")
    }
    assert not found


def test_free_ports_are_none_that_the_kernel_hands_out() -> None:
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert all(1024 < free_port() < lowest for _ in range(20))
    assert HOST == "127.0.0.1"


def test_a_free_port_is_not_given_out_again_soon() -> None:
    ports = [free_port() for _ in range(400)]
    assert all(len(set(ports[first : first + 60])) == 60 for first in range(340))
