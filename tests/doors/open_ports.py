"""Run a stage and see what it opened; as a program, in a network of its own where nothing else listens:

    unshare --net --map-root-user python -m tests.doors.open_ports COMMAND...

It brings up the loopback interface and gives it one more address, which stands for the machine's address in the world. It prints
one JSON object: the sockets of the process by inode (`/proc/net`), and what a scan of every port finds by connecting.
"""

import fcntl
import ipaddress
import json
import re
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

from tools.peers import guarded

WORLD = "192.0.2.1"
_SIOCSIFADDR, _SIOCGIFFLAGS, _SIOCSIFFLAGS, _UP = 0x8916, 0x8913, 0x8914, 1
_LISTENS = "0A"


def sockets(pid: int) -> list[tuple[str, str, int, bool]]:
    """Give protocol, address, port of each socket of a process, and whether it listens."""
    links = (entry.readlink() for entry in Path(f"/proc/{pid}/fd").iterdir() if entry.is_symlink())
    inodes = {found[1] for link in links if (found := re.fullmatch(r"socket:\[([0-9]+)\]", str(link)))}
    opened = []
    for protocol in ("tcp", "tcp6", "udp", "udp6"):
        for line in Path(f"/proc/{pid}/net/{protocol}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[9] in inodes:
                address, _, port = fields[1].partition(":")
                opened.append((protocol, _address(address), int(port, 16), fields[3] == _LISTENS))
    return sorted(opened)


def _address(text: str) -> str:
    """Read an address as /proc writes it: words of four bytes, in the machine's order."""
    words = struct.pack(f"={len(text) // 8}I", *(int(text[at : at + 8], 16) for at in range(0, len(text), 8)))
    return str(ipaddress.ip_address(words))


def scan(host: str) -> list[int]:
    """Give the ports that take a connection; on this machine each says so at once."""
    found = []
    for port in range(1, 65536):
        with socket.socket() as client:
            if client.connect_ex((host, port)) == 0 and client.getsockname() != client.getpeername():  # not with itself
                found.append(port)
    return found


def _bring_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        name = b"lo".ljust(16, b"\0")
        flags = struct.unpack("16sh", fcntl.ioctl(control, _SIOCGIFFLAGS, name + bytes(2)))[1]
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sh", name, flags | _UP))
        alias = b"lo:1".ljust(16, b"\0")
        fcntl.ioctl(control, _SIOCSIFADDR, alias + struct.pack("=HH4s8x", socket.AF_INET, 0, socket.inet_aton(WORLD)))


def main() -> None:
    _bring_up()
    with guarded(subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)) as process:
        assert process.stderr is not None
        said = []
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and (line := process.stderr.readline()):
            said.append(line)
            if "everything is ready" in line:
                break
        found = {
            "sockets": sockets(process.pid),
            "scanned": {host: scan(host) for host in ("127.0.0.1", WORLD)},
        }
        process.send_signal(signal.SIGTERM)
        said += process.communicate(timeout=60)[1].splitlines(keepends=True)
    sys.stdout.write(json.dumps({**found, "said": "".join(said), "code": process.returncode}))


if __name__ == "__main__":
    main()
