"""Faults by kind: when and where they hold, and how each changes what a request is about to do."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Literal, get_args

from otel_tracead.generator.chance import Draws
from otel_tracead.generator.semantics import CANCELLED, INTERNAL, OK, Outcome
from otel_tracead.generator.topology import Call, ConcreteStep, Operation, Parallel, Publish, Step
from otel_tracead.generator.topology import Internal as InternalSpan

FaultKind = Literal[
    "slow_service",
    "slow_edge",
    "lock_contention",
    "error",
    "abort",
    "missing_call",
    "retry_storm",
    "changed_order",
    "new_operation",
]
FAULT_KINDS: Final[tuple[FaultKind, ...]] = get_args(FaultKind)

# What a fault does when nobody says how badly; the unit is in the docstring of Fault.
_SEVERITY: Final[dict[FaultKind, float]] = {
    "slow_service": 6.0,
    "slow_edge": 60.0,
    "lock_contention": 80.0,
    "retry_storm": 4.0,
    "new_operation": 5.0,
}
_FAIL_FAST: Final = 0.1  # a failing request does this share of its work


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something that goes wrong at `service` from `start_s` (seconds after the scenario's start) for `duration_s`.

    `share` of the requests that pass there are hit. `severity` is, by kind: slow_service: factor on the service's own
    work; slow_edge: added milliseconds on the way to `service`; lock_contention: milliseconds that the one lock of the
    service is held; retry_storm: attempts until an answer is heard; new_operation: milliseconds of the new work; of
    no meaning for the others (there, as by default, 0). 0 stands for the kind's default.

    `service` is the service that is called for slow_edge, retry_storm and missing_call, and `caller`, if given, the
    only caller concerned. For abort, changed_order and new_operation it is the service whose request handling
    changes. `operation` restricts the fault to one operation of `service`: its span name or the last part of it; for
    new_operation it is the name of the span that appears.

    Raises:
        ValueError: an unknown kind, an empty service, or a number out of range.
    """

    kind: FaultKind
    service: str
    start_s: float
    duration_s: float
    severity: float = 0.0
    share: float = 1.0
    caller: str = ""
    operation: str = ""

    def __post_init__(self) -> None:
        if self.kind not in FAULT_KINDS:
            raise ValueError(f"unknown fault kind {self.kind!r}; known are {', '.join(FAULT_KINDS)}")
        if not self.service:
            raise ValueError(f"a fault of kind {self.kind} needs a service")
        if not (self.start_s >= 0 and self.duration_s > 0 and 0 <= self.severity < math.inf and 0 < self.share <= 1):
            raise ValueError(
                f"fault {self.kind} at {self.service}: start and severity must not be negative, the duration must be "
                "positive and the share in (0, 1]"
            )
        if not self.severity:
            object.__setattr__(self, "severity", _SEVERITY.get(self.kind, 0.0))

    def holds(self, now_s: float) -> bool:
        """Return whether the fault is there at this time."""
        return self.start_s <= now_s < self.start_s + self.duration_s

    def concerns(self, operation: Operation) -> bool:
        """Return whether an operation of the service is meant."""
        return self.kind == "new_operation" or self.operation in {
            "",
            operation.name,
            operation.name.rpartition("/")[2],
        }


@dataclass(frozen=True, slots=True, eq=False)
class Mark:
    """A place in a plan where a fault shows; a request that fails before it gets there was not hit.

    The fault shows at the span that does the plan (`here`), at the next one below it (`below`), or at both. `missing`
    are the operations that would have been called, as `service name`.
    """

    fault: Fault
    here: bool = True
    below: bool = False
    missing: tuple[str, ...] = ()


Planned = ConcreteStep | Mark


@dataclass(slots=True)
class Work:
    """What a request is about to do at one service; a fault changes it before it is done.

    All in seconds: own work, of which `extra_s` is a fault's, and time under the service's one lock. `outcome` is how
    the request ends after its plan.
    """

    operation: Operation
    own_s: float
    plan: list[Planned]
    outcome: Outcome = OK
    lock_s: float = 0.0
    extra_s: float = 0.0


def _slow_service(fault: Fault, work: Work, _draws: Draws) -> bool:
    work.extra_s = work.own_s * (fault.severity - 1)
    work.own_s *= fault.severity
    return fault.severity != 1


def _lock_contention(fault: Fault, work: Work, _draws: Draws) -> bool:
    work.lock_s = fault.severity / 1000
    return True


def _error(fault: Fault, work: Work, _draws: Draws) -> bool:
    work.plan = [Mark(fault, missing=tuple(_targets(work.plan)))]
    work.own_s *= _FAIL_FAST
    work.outcome = INTERNAL
    return True


def _abort(fault: Fault, work: Work, draws: Draws) -> bool:
    if not _targets(work.plan):
        return False
    # The cut lies before the last step that calls somebody, so that something is really missing.
    last = max(index for index, step in enumerate(work.plan) if _targets([step]))
    cut = int(draws.uniform() * (last + 1))
    work.plan[cut:] = [Mark(fault, missing=tuple(_targets(work.plan[cut:])))]
    work.own_s *= 0.5
    work.outcome = CANCELLED
    return True


def _missing_call(fault: Fault, work: Work, _draws: Draws) -> bool:
    left: list[Planned] = []
    for step in work.plan:
        # Calls inside an internal span are left alone: they belong to that span, which is not the request's own.
        calls = step.calls if isinstance(step, Parallel) else (step,)
        gone = [call for call in calls if isinstance(call, Call | Publish) and _meant(fault, call)]
        if gone:
            left.append(Mark(fault, missing=tuple(_targets(gone))))
        if isinstance(step, Parallel) and gone:
            stay = tuple(call for call in step.calls if call not in gone)
            left += [Parallel(stay)] if stay else []
        elif not gone:
            left.append(step)
    work.plan = left
    return any(isinstance(step, Mark) and step.fault is fault for step in left)


def _meant(fault: Fault, step: Call | Publish) -> bool:
    operation = step.send.operation if isinstance(step, Publish) else step.operation
    return operation.service.name == fault.service and fault.concerns(operation)


def _changed_order(fault: Fault, work: Work, draws: Draws) -> bool:
    plan = work.plan
    pairs = [
        (early, late)
        for late in range(1, len(plan))
        for early in range(late)
        if not isinstance(plan[early], Mark)
        and not isinstance(plan[late], Mark)
        and _targets([plan[early]]) != _targets([plan[late]])
    ]
    if not pairs:
        return False
    early, late = pairs[int(draws.uniform() * len(pairs))]
    plan[early], plan[late] = plan[late], plan[early]
    plan.insert(early, Mark(fault, below=True))
    return True


def _new_operation(fault: Fault, work: Work, draws: Draws) -> bool:
    name = fault.operation or f"{fault.service}.experimental_rollout"
    at = int(draws.uniform() * (len(work.plan) + 1))
    work.plan[at:at] = [Mark(fault, here=False, below=True), InternalSpan(name, fault.severity)]
    return True


def _calls(plan: Iterable[Step | Mark]) -> Iterator[Call]:
    """Yield the calls that the steps make, in order, with those inside their internal spans."""
    for step in plan:
        match step:
            case Call():
                yield step
            case Publish():
                yield step.send
            case Parallel():
                yield from _calls(step.calls)
            case InternalSpan():
                yield from _calls(step.steps)


def _targets(plan: Iterable[Step | Mark]) -> list[str]:
    """Return what the steps call, as `service name`."""
    return [f"{call.operation.service.name} {call.operation.name}" for call in _calls(plan)]


_CHANGES: Final[dict[FaultKind, Callable[[Fault, Work, Draws], bool]]] = {
    "slow_service": _slow_service,
    "lock_contention": _lock_contention,
    "error": _error,
    "abort": _abort,
    "missing_call": _missing_call,
    "changed_order": _changed_order,
    "new_operation": _new_operation,
}


def apply(fault: Fault, work: Work, draws: Draws) -> bool:
    """Let a fault change the work of one request; return whether there was anything to change.

    Faults on the way between two services (slow_edge, retry_storm) change no work.
    """
    change = _CHANGES.get(fault.kind)
    return change is not None and change(fault, work, draws)
