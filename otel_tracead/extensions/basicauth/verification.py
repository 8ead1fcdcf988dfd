"""Looks at passwords beside the event loop, one at a time, and remembers what came of it.

A look at a bcrypt hash costs tens of milliseconds of CPU. Once for each credential that is sent, not for each request; and what is
wrong is followed by a rest, so that guessing takes a bounded share of one core, however many guess.
"""

import asyncio
import hashlib
import secrets
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from otel_tracead.errors import Backpressure, Unauthenticated
from otel_tracead.extensions.basicauth.htpasswd import Users

_MOST_WAITING: Final = 32
_MOST_REMEMBERED: Final = 4096
_REST: Final = 4.0
"""Times that a look took: the rest after one that found a wrong password; guessing takes a fifth of a core."""
_REFUSAL: Final = "invalid credentials"


class _Memory:
    """What was found of credentials, by a keyed hash of them; of too many the longest unused is forgotten."""

    def __init__(self) -> None:
        self._found: OrderedDict[bytes, None] = OrderedDict()

    def __contains__(self, proof: bytes) -> bool:
        known = proof in self._found
        if known:
            self._found.move_to_end(proof)
        return known

    def add(self, proof: bytes) -> None:
        self._found[proof] = None
        if len(self._found) > _MOST_REMEMBERED:
            self._found.popitem(last=False)


class Verification:
    """Says of credentials whether they are right, by one list of users; a renewed list gets a new one of these.

    Args:
        users: who may come in.
        worker: one thread.
        now: a clock in seconds.
        sleep: rests.
    """

    def __init__(
        self,
        users: Users,
        worker: ThreadPoolExecutor,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._users = users
        self._worker = worker
        self._now = now
        self._sleep = sleep
        self._key = secrets.token_bytes(32)
        # Two, so that guessing does not make forget who was right.
        self._right = _Memory()
        self._wrong = _Memory()
        self._looking: dict[bytes, asyncio.Task[bool]] = {}
        self._turn = asyncio.Lock()
        self._rest_until = 0.0

    def verify(self, name: bytes, password: bytes) -> Awaitable[None] | None:
        """Look at credentials; give None if they are known to be right, else what waits and raises as follows.

        Raises:
            Unauthenticated: they are wrong.
            Backpressure: too many others are waiting.
        """
        proof = hashlib.blake2b(b"%d:%b:%b" % (len(name), name, password), key=self._key, digest_size=32).digest()
        if proof in self._right:
            return None
        if proof in self._wrong:
            raise Unauthenticated(_REFUSAL)
        task = self._looking.get(proof)  # all who send the same wait for one look
        if task is None:
            if len(self._looking) >= _MOST_WAITING:
                raise Backpressure("too many credentials are looked at; try again")
            task = self._looking[proof] = asyncio.create_task(self._look(proof, name, password))
            task.add_done_callback(lambda _task: self._looking.pop(proof, None))
        return self._wait(task)

    async def close(self) -> None:
        """Look at nothing more; who waits is told to come back."""
        tasks = list(self._looking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @staticmethod
    async def _wait(task: asyncio.Task[bool]) -> None:
        # A look goes on when its sender has gone: it is paid already, and the sender comes back.
        await asyncio.wait({task})
        if task.cancelled():
            raise Backpressure("credentials are not looked at just now; try again")
        if not task.result():
            raise Unauthenticated(_REFUSAL)

    async def _look(self, proof: bytes, name: bytes, password: bytes) -> bool:
        async with self._turn:
            rest = self._rest_until - self._now()
            if rest > 0:
                await self._sleep(rest)
            began = self._now()
            loop = asyncio.get_running_loop()
            right = await loop.run_in_executor(self._worker, self._users.admit, name, password)
            ended = self._now()
            if not right:
                self._rest_until = ended + _REST * (ended - began)
        (self._right if right else self._wrong).add(proof)
        return right
