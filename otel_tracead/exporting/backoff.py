"""How long to wait before a request is sent again: the Collector's exponential back-off, or longer where it is asked for."""

from collections.abc import Callable
from typing import Final

from tenacity import RetryCallState, wait_exponential
from tenacity.wait import wait_base

from otel_tracead.errors import RetryableError
from otel_tracead.exporting.config import RetryConfig

# A hint of a year, or a date by a clock that went wrong, shall not hold spans back for a year.
_LONGEST_HINT: Final = 300.0


class Backoff(wait_base):
    """A wait strategy for tenacity; pure but for *random*.

    The n-th wait is `initial_interval * multiplier ** (n - 1)`, at most `max_interval`, made longer or shorter by up to
    `randomization_factor`, and never shorter than the backend said, but for hints of more than five minutes.
    """

    def __init__(self, config: RetryConfig, random: Callable[[], float]) -> None:
        self._exponential = wait_exponential(
            multiplier=config.initial_interval, exp_base=config.multiplier, max=config.max_interval
        )
        self._spread = config.randomization_factor
        self._random = random

    def __call__(self, retry_state: RetryCallState) -> float:
        """Give the seconds to wait after the attempt that *retry_state* tells of."""
        wait = self._exponential(retry_state) * (1 + self._spread * (2 * self._random() - 1))
        error = retry_state.outcome.exception() if retry_state.outcome is not None else None
        asked = error.retry_after if isinstance(error, RetryableError) else None
        return wait if asked is None else max(wait, min(asked, _LONGEST_HINT))
