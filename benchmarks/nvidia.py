"""What nvidia-smi says of the first GPU: its name, and how busy it is while something is measured."""

import math
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import mean
from typing import Final

from tools.peers import guarded

_ASKED: Final = ("nvidia-smi", "--id=0", "--format=csv,noheader,nounits")
_EVERY_MS: Final = 200


@dataclass(slots=True)
class Busy:
    """How busy a GPU was.

    Attributes:
        percent: share of the time in which a kernel ran, one number a sample.
        memory_mib: that was taken, by everybody, one number a sample.
    """

    percent: list[float] = field(default_factory=list)
    memory_mib: list[float] = field(default_factory=list)

    @property
    def percent_at_work(self) -> float:
        """The mean share from the first sample with a kernel to the last; nan without one."""
        at_work = [place for place, percent in enumerate(self.percent) if percent]
        return mean(self.percent[at_work[0] : at_work[-1] + 1]) if at_work else math.nan


def gpu() -> str:
    """Name the first GPU with its memory and driver; empty where there is none."""
    try:
        done = subprocess.run(
            [*_ASKED, "--query-gpu=name,memory.total,driver_version"], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return ""
    if done.returncode != 0 or "," not in done.stdout:
        return ""
    name, memory, driver = (part.strip() for part in done.stdout.splitlines()[0].split(","))
    return f"{name}, {float(memory) / 1024:.0f} GiB, driver {driver}"


@contextmanager
def watched() -> Iterator[Busy]:
    """Sample the first GPU for as long as the context lasts; what was found is there after it."""
    busy = Busy()
    command = [*_ASKED, "--query-gpu=utilization.gpu,memory.used", f"--loop-ms={_EVERY_MS}"]
    with guarded(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)) as child:
        try:
            yield busy
        finally:
            child.terminate()
            said, _ = child.communicate()
            for percent, memory in samples(said):
                busy.percent.append(percent)
                busy.memory_mib.append(memory)


def samples(said: str) -> Iterator[tuple[float, float]]:
    """Read what nvidia-smi wrote; a line that was cut off, or of a GPU that does not tell, is left out."""
    for line in said.splitlines():
        numbers = [part.strip() for part in line.split(",")]
        if len(numbers) == 2 and all(number.replace(".", "", 1).isdigit() for number in numbers):
            yield float(numbers[0]), float(numbers[1])
