"""One thread that scores; a hanging job is left behind and does not keep the process from ending."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Generic, NamedTuple, TypeVar

ResultT = TypeVar("ResultT")


class _Job(NamedTuple, Generic[ResultT]):
    work: Callable[[], ResultT]
    loop: asyncio.AbstractEventLoop
    future: "asyncio.Future[ResultT]"


class ScoringThread(Generic[ResultT]):
    """Runs one job after another off the event loop.

    A thread of our own rather than an executor's: those are waited for when the interpreter ends, and a model's
    session that hangs would hang the process.
    """

    def __init__(self, name: str) -> None:
        self._jobs: SimpleQueue[_Job[ResultT] | None] = SimpleQueue()
        self._unfinished = 0
        threading.Thread(target=self._run, name=name, daemon=True).start()

    @property
    def busy(self) -> bool:
        """Whether a job is running or waiting, be it one that nobody waits for any more."""
        return self._unfinished > 0

    def submit(self, work: Callable[[], ResultT]) -> "asyncio.Future[ResultT]":
        """Have *work* done; the future belongs to the running event loop, and may be cancelled."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[ResultT] = loop.create_future()
        self._unfinished += 1
        self._jobs.put(_Job(work, loop, future))
        return future

    def close(self) -> None:
        """Let the thread end after the jobs that it has."""
        self._jobs.put(None)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            self._do(job)
            del job  # while the thread waits for the next one, nothing of this one is kept: it may hold a model

    def _do(self, job: _Job[ResultT]) -> None:
        finish: Callable[..., None] = job.future.set_result
        outcome: object
        try:
            outcome = job.work()
        except BaseException as error:  # noqa: BLE001 (whoever waits shall hear of it)
            finish, outcome = job.future.set_exception, error
        with suppress(RuntimeError):  # the loop is closed: nobody waits
            job.loop.call_soon_threadsafe(self._finish, job, finish, outcome)

    def _finish(self, job: _Job[ResultT], finish: Callable[..., None], outcome: object) -> None:
        self._unfinished -= 1
        if not job.future.done():
            finish(outcome)
