"""How long to wait before a request is sent again: the Collector's exponential back-off, or longer where it is asked for."""

from collections.abc import Callable
from typing import Final

from otel_tracead.errors import RetryableError
from otel_tracead.exporting.config import RetryConfig

# A hint of a year, or a date by a clock that went wrong, shall not hold spans back for a year.
_LONGEST_HINT: Final = 300.0


class Backoff:
    """Waits; pure but for *random*.

    The n-th wait is `initial_interval * multiplier ** (n - 1)`, at most `max_interval`, made longer or shorter by up to
    `randomization_factor`, and never shorter than the backend said, but for hints of more than five minutes.
    """

    def __init__(self, config: RetryConfig, random: Callable[[], float]) -> None:
        self._config = config
        self._random = random

    def after(self, attempts: int, error: RetryableError) -> float:
        """Give the seconds to wait after the *attempts*-th attempt, which failed with *error*."""
        config = self._config
        try:
            wait = min(config.initial_interval * config.multiplier ** (attempts - 1), config.max_interval)
        except OverflowError:
            wait = config.max_interval
        wait *= 1 + config.randomization_factor * (2 * self._random() - 1)
        return wait if error.retry_after is None else max(wait, min(error.retry_after, _LONGEST_HINT))
