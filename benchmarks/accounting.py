"""What a process has cost so far, as the kernel accounts for it: CPU time and resident memory, its children included."""

import time
from pathlib import Path


def cpu_seconds(pid: int) -> float:
    """Give user and system time of all threads that a process and its living descendants ever had, to the nanosecond."""
    return sum(time.clock_gettime_ns(_clock(member)) for member in _family(pid)) / 1e9


def peak_rss(pid: int) -> int:
    """Give the most resident memory there was, in bytes."""
    return sum(_status(member, "VmHWM:") for member in _family(pid))


def rss(pid: int) -> int:
    """Give the resident memory there is, in bytes."""
    return sum(_status(member, "VmRSS:") for member in _family(pid))


def _clock(pid: int) -> int:
    """The number of the clock of a process's CPU time: clock_getcpuclockid(3), CPUCLOCK_SCHED in linux/posix-timers.h."""
    return (~pid << 3) | 2


def _family(pid: int) -> list[int]:
    """The process and its descendants."""
    children = " ".join(tasks.read_text() for tasks in Path(f"/proc/{pid}/task").glob("*/children"))
    return [pid, *(member for child in children.split() for member in _family(int(child)))]


def _status(pid: int, key: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) * 1024
