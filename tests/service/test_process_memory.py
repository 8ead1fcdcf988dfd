"""A process that runs for long does not give its memory back to take it anew for every batch."""

import platform
import subprocess
import sys

import pytest

# Blocks as a batch needs them, all at once and all gone again, and the page faults of so many rounds.
_PROGRAM = """
import gc, resource, sys
from otel_tracead.service import memory
if sys.argv[1] == "settled":
    memory.settle()
def batch():
    return [bytearray(b"1" * 200_000) for _ in range(20)]
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
batch()
before = faults()
for _ in range(50):
    batch()
print(faults() - before, gc.get_freeze_count())
"""


def _rounds(how: str) -> tuple[int, int]:
    done = subprocess.run([sys.executable, "-c", _PROGRAM, how], capture_output=True, text=True, check=True)
    faults, frozen = map(int, done.stdout.split())
    return faults, frozen


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have no such settings")
def test_what_a_batch_needs_is_kept_for_the_next():
    faults, frozen = _rounds("settled")
    assert faults < 2_000
    assert frozen > 1_000
    usual, not_frozen = _rounds("usual")
    assert usual > 10_000
    assert not_frozen == 0
