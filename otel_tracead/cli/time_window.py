"""A window of time as `--since` and `--until` say it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TimeWindow:
    """From `since` to before `until`, in nanoseconds; None = open.

    Attributes:
        since: the first moment in it.
        until: the first moment after it.
    """

    since: int | None = None
    until: int | None = None

    @property
    def bounded(self) -> bool:
        """Say whether anything is outside."""
        return self.since is not None or self.until is not None

    def __contains__(self, nanoseconds: int) -> bool:
        """Say whether a moment is inside."""
        return (self.since is None or nanoseconds >= self.since) and (self.until is None or nanoseconds < self.until)
