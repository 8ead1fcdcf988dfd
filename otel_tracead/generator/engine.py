"""Time that jumps from event to event: tasks that sleep, wait in line for a worker, and fork."""

import heapq
import itertools
from collections import deque
from collections.abc import Generator
from typing import Any, TypeVar

T = TypeVar("T")

_QUEUE_PER_WORKER = 24


class Task:
    """A running generator. Made by `Engine` only."""

    __slots__ = ("body", "parent", "pending", "results", "slot")

    def __init__(self, body: "Body[Any]", parent: "Task | None" = None, slot: int = 0) -> None:
        self.body = body
        self.parent = parent
        self.slot = slot
        self.pending = 0
        self.results: list[Any] = []


class Pool:
    """A number of workers with a line before them, first come first served."""

    __slots__ = ("_engine", "_limit", "_waiting", "free")

    def __init__(self, engine: "Engine", workers: int) -> None:
        self._engine = engine
        self._waiting: deque[Task] = deque()
        self._limit = workers * _QUEUE_PER_WORKER
        self.free = workers

    @property
    def full(self) -> bool:
        """Whether the line is so long that a sane server refuses; without this an overloaded shop would grow for ever."""
        return len(self._waiting) >= self._limit

    def enter(self, task: Task) -> bool:
        """Take a worker and return True, or stand in line and return False."""
        if self.free:
            self.free -= 1
            return True
        self._waiting.append(task)
        return False

    def release(self) -> None:
        """Give the worker back: to the first in line, if any."""
        if self._waiting:
            self._engine.wake(self._waiting.popleft())
        else:
            self.free += 1


# What a task may yield: seconds to sleep, a pool of which it wants a worker, or bodies to run at the same time.
Command = float | Pool | list["Body[Any]"]
Body = Generator[Command, Any, T]


class Engine:
    """Runs tasks in the order of simulated time, in seconds from 0; ties in the order in which they were made."""

    __slots__ = ("_heap", "_order", "now")

    def __init__(self) -> None:
        self.now = 0.0
        self._heap: list[tuple[float, int, Task]] = []
        self._order = itertools.count()

    def start(self, body: Body[Any], after_s: float = 0.0) -> None:
        """Begin a task of its own after `after_s` seconds; nobody waits for it."""
        heapq.heappush(self._heap, (self.now + after_s, next(self._order), Task(body)))

    def wake(self, task: Task) -> None:
        """Let a waiting task go on now."""
        heapq.heappush(self._heap, (self.now, next(self._order), task))

    def step(self) -> bool:
        """Do what comes next in time; return False when nothing is left."""
        if not self._heap:
            return False
        self.now, _, task = heapq.heappop(self._heap)
        self._resume(task, None)
        return True

    def _resume(self, task: Task, value: object) -> None:
        while True:
            try:
                command = task.body.send(value)
            except StopIteration as stop:
                self._finish(task, stop.value)
                return
            value = None
            if type(command) is float:
                heapq.heappush(self._heap, (self.now + command, next(self._order), task))
                return
            if type(command) is Pool:
                if not command.enter(task):
                    return
            elif self._fork(task, command):  # type: ignore[arg-type]  # the only kind of command that is left
                return

    def _fork(self, task: Task, bodies: list[Body[Any]]) -> bool:
        task.pending = len(bodies)
        task.results = [None] * len(bodies)
        for slot, body in enumerate(bodies):
            self.wake(Task(body, task, slot))
        return bool(bodies)

    def _finish(self, task: Task, value: object) -> None:
        parent = task.parent
        if parent is None:
            return
        parent.results[task.slot] = value
        parent.pending -= 1
        if not parent.pending:
            self._resume(parent, parent.results)
