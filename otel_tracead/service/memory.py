"""How a process that runs for long treats memory: what is used again and again is kept, and not walked over."""

import ctypes
import gc
from contextlib import suppress
from typing import Final

_GC_THRESHOLDS: Final = (50_000, 20, 50)
# Of malloc.h.
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_KEPT: Final = 64 << 20  # bytes that are free at the end of a heap
_LARGE: Final = 4 << 20  # bytes asked for at once that are given back as soon as they are free


def settle() -> None:
    """Say that everything that lives as long as the process is there."""
    _spare_the_collector()
    _keep_pages()


def _spare_the_collector() -> None:
    """Take what is there out of the garbage collector's rounds, and have it come round less often.

    Spans that wait are thousands of objects without cycles; with the defaults a third of the stage's time went into
    walking over them again and again (measured at 50,000 spans a second).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)


def _keep_pages() -> None:
    """Have glibc keep free memory of usual sizes, which the next batch needs again.

    It would give it back to the kernel and take it anew for every batch: up to 0.09 page faults a span, with all that the
    kernel does for them 5 to 10 % of what a span costs.
    """
    with suppress(OSError, AttributeError):  # not glibc
        library = ctypes.CDLL(None)
        library.mallopt(_M_TRIM_THRESHOLD, _KEPT)
        library.mallopt(_M_MMAP_THRESHOLD, _LARGE)
