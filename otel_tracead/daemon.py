"""One thread that does one job after another; a job that hangs does not keep the process from ending."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeVar

ResultT = TypeVar("ResultT")


class DaemonThread:
    """Runs jobs in order, in a thread of its own that starts with the first one.

    An executor's threads are waited for when the interpreter ends, and whatever hangs in one hangs the process; this
    one is left behind.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._started = False

    def submit(self, work: Callable[[], ResultT]) -> "Future[ResultT]":
        """Have *work* done; the future can be cancelled until the job has begun."""
        if not self._started:
            self._started = True
            threading.Thread(target=self._run, name=self._name, daemon=True).start()
        future: Future[ResultT] = Future()
        self._jobs.put((future, work))
        return future

    def close(self) -> None:
        """Let the thread end after the jobs that it has."""
        self._jobs.put(None)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            future, work = job
            if not future.set_running_or_notify_cancel():
                continue
            try:
                result = work()
            except BaseException as error:  # noqa: BLE001 (whoever waits shall hear of it)
                future.set_exception(error)
            else:
                future.set_result(result)
            del job, future, work  # nothing is kept alive by a thread that waits
