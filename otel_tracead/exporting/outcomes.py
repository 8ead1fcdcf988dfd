"""What became of queued requests whose callers wait for it (`wait_for_result`)."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from otel_tracead.delivery import Consignment, Delivery
from otel_tracead.errors import PipelineError


class Outcomes:
    """Gives each waiting request a receipt of its own, so that it is found again however the queue joins and cuts."""

    def __init__(self) -> None:
        self._outcomes: dict[Delivery, PipelineError | None] = {}

    async def wait(self, consignment: Consignment, put: Callable[[Consignment], Awaitable[None]]) -> None:
        """Put *consignment* into the queue and wait until it was sent, even if only in part, or refused.

        Raises:
            PipelineError: nothing of it was sent; the caller still holds everything.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        receipt = Delivery(lambda: None if done.done() else done.set_result(None))
        await put(Consignment(consignment.batch, ((receipt, 1),)))
        try:
            await done
        finally:
            error = self._outcomes.pop(receipt, None)
        if error is not None:
            raise error
        consignment.settle()

    @contextmanager
    def noted(self, consignment: Consignment) -> Iterator[None]:
        """Note how the sending of *consignment*, all of a request or a part, ends; one that is refused is settled."""
        receipts = [receipt for receipt, _ in consignment.holds]
        try:
            yield
        except PipelineError as error:
            for receipt in receipts:
                self._outcomes.setdefault(receipt, error)
            consignment.settle()
        else:
            self._outcomes |= dict.fromkeys(receipts)
