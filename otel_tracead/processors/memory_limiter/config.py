"""What a user may write for `memory_limiter`, and the limits in bytes that follow from it."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, model_validator

from otel_tracead.component import ComponentConfig
from otel_tracead.config_types import Duration, Size

_MIB = 1 << 20
_DEFAULT_SPIKE = 0.2

Percentage = Annotated[int, Field(ge=0, le=100)]


@dataclass(frozen=True, slots=True)
class Limits:
    """The two limits, in bytes of resident memory.

    Attributes:
        soft: over it spans are refused.
        hard: over it memory is also given back by force.
    """

    soft: int
    hard: int


class MemoryLimiterConfig(ComponentConfig):
    """Keys, defaults and messages are the Collector's.

    Attributes:
        check_interval: how often memory is measured, at least (each 100 ms while it comes near the soft limit); must be given, 1s is a
            good choice.
        limit_mib: the hard limit in MiB; wins over the percentage.
        limit_percentage: the hard limit as a share of the memory there is.
        spike_limit_mib: how far below the hard limit the soft one lies; 0 = 20 % of the hard limit.
        spike_limit_percentage: likewise as a share of the memory there is, for `limit_percentage`.
        min_gc_interval_when_soft_limited: the shortest time between two collections over the soft limit.
        min_gc_interval_when_hard_limited: likewise over the hard limit.
    """

    check_interval: Duration = 0.0
    limit_mib: Size = 0
    limit_percentage: Percentage = 0
    spike_limit_mib: Size = 0
    spike_limit_percentage: Percentage = 0
    min_gc_interval_when_soft_limited: Duration = 10.0
    min_gc_interval_when_hard_limited: Duration = 0.0

    @model_validator(mode="after")
    def _complete(self) -> "MemoryLimiterConfig":
        problems = []
        if self.check_interval == 0:
            problems.append("'check_interval' must be greater than zero")
        if self.limit_mib == 0 and self.limit_percentage == 0:
            problems.append("'limit_mib' or 'limit_percentage' must be greater than zero")
        if self.min_gc_interval_when_soft_limited < self.min_gc_interval_when_hard_limited:
            problems.append(
                "'min_gc_interval_when_soft_limited' should be larger than 'min_gc_interval_when_hard_limited'"
            )
        if self.limit_mib and self.spike_limit_mib >= self.limit_mib:
            problems.append("'spike_limit_mib' must be smaller than 'limit_mib'")
        if not self.limit_mib and self.limit_percentage and self.spike_limit_percentage >= self.limit_percentage:
            problems.append("'spike_limit_percentage' must be smaller than 'limit_percentage'")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def limits(self, total: int) -> Limits:
        """Give the limits on a machine that has *total* bytes of memory."""
        if self.limit_mib:
            hard, spike = self.limit_mib * _MIB, self.spike_limit_mib * _MIB
        else:
            hard, spike = total * self.limit_percentage // 100, total * self.spike_limit_percentage // 100
        return Limits(hard - (spike or int(hard * _DEFAULT_SPIKE)), hard)
