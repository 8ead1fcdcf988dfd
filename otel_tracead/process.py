"""What the operating system says of this process and its memory."""

import os
import resource
import sys
from pathlib import Path
from typing import Final

_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_STATM: Final = Path("/proc/self/statm")
_OPEN: Final = "/proc/self/fd"
_CGROUP_LIMITS: Final = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def resident_bytes() -> int:
    """Give the resident memory in bytes; where there is no /proc, its peak."""
    try:
        return int(_STATM.read_bytes().split()[1]) * _PAGE
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def open_files() -> int:
    """Give how many file descriptors are open, sockets too; 0 where there is no /proc."""
    try:
        return len(os.listdir(_OPEN)) - 1  # noqa: PTH208 (names are enough; one is that of the listing)
    except FileNotFoundError:
        return 0
    except OSError:  # there was none left to look with
        return most_files()


def most_files() -> int:
    """Give how many file descriptors may be open."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def total_memory_bytes() -> int:
    """Give the memory that this process may use: the machine's, or its control group's if that is less."""
    total = os.sysconf("SC_PHYS_PAGES") * _PAGE
    for path in _CGROUP_LIMITS:
        try:
            limit = path.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            continue
        if limit.isdecimal():
            total = min(total, int(limit))
    return total
