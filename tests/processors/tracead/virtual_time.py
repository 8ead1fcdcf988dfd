"""An event loop whose time jumps, and what runs in threads elsewhere runs at once: nothing waits, everything repeats."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any


class _Jumping(selectors.SelectSelector):
    """Does not wait: time goes on by as much as it would have."""

    now = 0.0

    def select(self, timeout=None):
        assert timeout is not None, "everybody waits for somebody else"
        self.now += timeout
        return []


class _Here(ThreadPoolExecutor):
    """Does at once what it is given."""

    def submit(self, work, /, *args, **kwargs):
        future: Future[Any] = Future()
        try:
            future.set_result(work(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 (whoever waits shall hear of it)
            future.set_exception(error)
        return future


class VirtualLoop(asyncio.SelectorEventLoop):
    """The loop.

    Attributes:
        troubles: what went wrong where nobody waited for it.
    """

    def __init__(self, now: float = 0.0) -> None:
        self._jumping = _Jumping()
        self._jumping.now = now
        super().__init__(self._jumping)
        self.set_default_executor(_Here(1))
        self.troubles: list[str] = []
        self.set_exception_handler(lambda _loop, context: self.troubles.append(str(context)))

    def time(self) -> float:
        return self._jumping.now

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run *work* to its end, however long it takes."""
        return self.run_until_complete(work)

    def pass_by(self, seconds: float) -> None:
        """Let time go on, and everything happen that is to happen until then."""
        self.do(asyncio.sleep(seconds))
        self.settle()

    def settle(self) -> None:
        """Let everything happen that waits for no time."""
        while self._ready:
            self.call_soon(self.stop)
            self.run_forever()
            if len(self._ready) == 0:
                break

    def die(self) -> None:
        """Stop at once, whatever is under way."""
        for task in asyncio.all_tasks(self):
            task.cancel()
        for _ in range(20):
            self.settle()
        self.troubles.clear()
        self.close()


class HeldJobs:
    """In place of `ScoringThread`: jobs wait until a test does them."""

    def __init__(self, name: str) -> None:
        self._jobs: list[tuple[Callable[[], Any], asyncio.Future[Any]]] = []
        HELD.append(self)

    @property
    def busy(self) -> bool:
        return bool(self._jobs)

    def submit(self, work: Callable[[], Any]) -> "asyncio.Future[Any]":
        future = asyncio.get_running_loop().create_future()
        self._jobs.append((work, future))
        return future

    def close(self) -> None:
        """As `ScoringThread.close`."""

    def do(self) -> None:
        """Do what waits."""
        jobs, self._jobs = self._jobs, []
        for work, future in jobs:
            result = work()
            if not future.done():
                future.set_result(result)


HELD: list[HeldJobs] = []
