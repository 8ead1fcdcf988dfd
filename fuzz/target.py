"""What a fuzz target is, and what no input may do to any of them: take long, or take much memory."""

import atexit
import os
import random
import resource
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

CASES: Final = Path(__file__).parents[1] / "tests" / "fuzz_cases"
"""A folder a target with the inputs that once were findings."""

_SECONDS: Final = 2.0
_MEBIBYTES: Final = 256
_SMALL: Final = 1 << 16

Mutate = Callable[[bytes, random.Random], bytes]
"""Changes an input so that it still has the shape which its target reads."""


class Finding(AssertionError):  # noqa: N818 (what it is called)
    """An input that did what none may do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One reader of bytes from outside.

    Attributes:
        name: as in `python -m fuzz NAME`.
        what: it reads, and what its results are held against.
        run: reads one input; raises whatever is a finding, and keeps to itself the errors that are documented.
        seeds: inputs to begin with.
        mutate: see `Mutate`; beside it bytes are changed as they come.
        instrumented: packages whose coverage leads the fuzzer.
    """

    name: str
    what: str
    run: Callable[[bytes], None]
    seeds: Callable[[], Sequence[bytes]]
    mutate: Mutate
    instrumented: tuple[str, ...] = ("otel_tracead",)

    def check(self, data: bytes) -> None:
        """Run one input, and look at what it took.

        Raises:
            Finding: more than two seconds of processor time, or more than 256 MiB, for a small input.
            Exception: whatever else no input may do.
        """
        before, started = _peak(), time.process_time()
        self.run(data)
        seconds, mebibytes = time.process_time() - started, _peak() - before
        if len(data) <= _SMALL and seconds > _SECONDS:
            raise Finding(f"{len(data)} bytes took {seconds:.1f} s")
        if len(data) <= _SMALL and mebibytes > _MEBIBYTES:
            raise Finding(f"{len(data)} bytes took {mebibytes:.0f} MiB")

    def cases(self) -> list[bytes]:
        """Give the inputs that once were findings."""
        folder = CASES / self.name
        return [file.read_bytes() for file in sorted(folder.iterdir())] if folder.is_dir() else []


def folder_in_memory() -> Path:
    """Make a folder, in memory where there is such a place, that goes with the process."""
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="fuzz-", dir=memory if os.access(memory, os.W_OK) else None))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _peak() -> float:
    """Give the most memory that the process ever had, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
