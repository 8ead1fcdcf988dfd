"""Pieces of long work side by side, one process each: what comes of them does not depend on the cores."""

import multiprocessing
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from typing import Any, Final, TypeVar

_POLL: Final = 0.5  # seconds between two looks at how far the pieces are

Progress = Callable[[float], None]
"""Told the share that is done."""
Result = TypeVar("Result")
Piece = Callable[[Progress], Result]
"""Work that tells how far it is; with more than one worker it and its result are sent between processes."""


def side_by_side(pieces: Sequence[Piece[Result]], progress: Progress, workers: int | None = None) -> list[Result]:
    """Do *pieces* of work and give their results, in their order.

    Args:
        pieces: what to do.
        progress: told the share that is done of all of them.
        workers: how many at a time; without it as many as there are cores. One works in this process.
    """
    workers = min(len(pieces), workers or os.cpu_count() or 1)
    if workers <= 1:
        done = [0.0] * len(pieces)

        def told(number: int, share: float) -> None:
            done[number] = share
            progress(sum(done) / len(pieces))

        return [piece(lambda share, n=n: told(n, share)) for n, piece in enumerate(pieces)]  # type: ignore[misc]
    # Spawned, not forked: the parent may have threads (ONNX Runtime's), which a fork would lose.
    context = multiprocessing.get_context("spawn")
    shares = context.Array("d", len(pieces), lock=False)
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_share, initargs=(shares,)) as pool:
        jobs = [pool.submit(_work, piece, number) for number, piece in enumerate(pieces)]
        try:
            waiting = set(jobs)
            while waiting:
                ended, waiting = wait(waiting, timeout=_POLL, return_when=FIRST_COMPLETED)
                for job in ended:
                    job.result()  # one failure ends all: nobody wants half of the results
                progress(sum(shares) / len(pieces))
            return [job.result() for job in jobs]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


_shares: Any = None


def _share(shares: Any) -> None:
    global _shares  # noqa: PLW0603 (a spawned worker's only way to be given what cannot be sent)
    _shares = shares
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this worker when the process that wants its result was killed: nobody else would."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(piece: Piece[Result], number: int) -> Result:
    def progress(share: float) -> None:
        _shares[number] = share

    result = piece(progress)
    progress(1.0)
    return result
