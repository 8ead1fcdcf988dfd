"""What a ledger says in the end: what is missing, what came twice, and which traces were judged in part or differently."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.endurance.ledger import FOREIGN, LATE, MARKED, PLAIN, Ledger
from benchmarks.endurance.numbered import Round


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Counts of spans and traces.

    Attributes:
        accepted: spans of requests that were acknowledged.
        missing: of these, spans that never came out.
        twice: copies of these beyond the first, where every attempt but the last was answered: the stage doubled them.
        twice_sent: likewise where an attempt got no answer: the sender may have doubled them.
        foreign: spans that came out and were never sent.
        unacknowledged: spans of requests that were sent and never acknowledged.
        traces: whose requests were all acknowledged, giant ones left out.
        unjudged: of these, without a verdict.
        again: verdicts beyond a trace's first one that say the same: copies.
        differing: traces with verdicts that differ, or with a span that the stage doubled, and marked in one copy only.
        in_part: traces with a span that only came after the verdict, although all were sent in time.
        late: likewise, where the sender itself could not deliver a span in time.
        first_missing: numbers of the first spans that are missing.
    """

    accepted: int = 0
    missing: int = 0
    twice: int = 0
    twice_sent: int = 0
    foreign: int = 0
    unacknowledged: int = 0
    traces: int = 0
    unjudged: int = 0
    again: int = 0
    differing: int = 0
    in_part: int = 0
    late: int = 0
    first_missing: tuple[int, ...] = ()


def account(traffic: Round, ledger: Ledger, wait: float) -> Account:
    """Count, round by round.

    Args:
        traffic: the round that was sent.
        ledger: of the run.
        wait: the processor's `wait_duration`, seconds.
    """
    shape = traffic.shape
    counts = dict.fromkeys(Account.__slots__[:-1], 0)
    first_missing: list[int] = []
    request_of = np.repeat(np.arange(shape.requests), np.diff(traffic.span_ends, prepend=0))
    by_request = [column.reshape(-1, shape.requests) for column in (ledger.sent, ledger.answered, ledger.unanswered)]
    by_span = [column.reshape(-1, shape.spans) for column in (ledger.copies, ledger.seen)]
    by_trace = [column.reshape(-1, shape.traces) for column in (ledger.verdicts, ledger.differing)]
    for turn in range(ledger.size.rounds):
        sent, answered, unanswered = (column[turn] for column in by_request)
        copies, seen = (column[turn] for column in by_span)
        if not sent.any() and not copies.any():
            continue
        accepted = answered[request_of] > 0
        missing = accepted & (copies == 0)
        extra = np.where(copies > 1, copies.astype(np.int64) - 1, 0)
        retried = unanswered[request_of] > 0
        counts["accepted"] += int(accepted.sum())
        counts["missing"] += int(missing.sum())
        counts["twice"] += int(extra[~retried].sum())
        counts["twice_sent"] += int(extra[retried].sum())
        counts["unacknowledged"] += int(((sent[request_of] > 0) & ~accepted).sum())
        counts["foreign"] += int(copies[sent[request_of] == 0].sum())
        if len(first_missing) < 10:
            first_missing += (np.flatnonzero(missing)[:10] + turn * shape.spans).tolist()
        if ledger.giant[turn]:
            continue
        whole = _all(accepted, traffic.trace_of, shape.traces)
        verdicts, differing = (column[turn] for column in by_trace)
        first = _least(np.where(sent > 0, sent, np.inf)[request_of], traffic.trace_of, shape.traces)
        last = -_least(-answered[request_of], traffic.trace_of, shape.traces)
        behind = ~_all((seen != LATE) | missing, traffic.trace_of, shape.traces) & whole
        # Two copies that the sender made belong to one trace, of which one span is to blame.
        both = ~_all((seen & (PLAIN | MARKED) != (PLAIN | MARKED)) | retried, traffic.trace_of, shape.traces)
        counts["traces"] += int(whole.sum())
        counts["unjudged"] += int((whole & (verdicts == 0)).sum())
        counts["again"] += int(np.maximum(verdicts.astype(np.int64) - 1, 0).sum())
        counts["differing"] += int((whole & ((differing > 0) | both)).sum())
        counts["in_part"] += int((behind & (last - first <= wait)).sum())
        counts["late"] += int((behind & (last - first > wait)).sum())
    counts["foreign"] += int(ledger.totals[FOREIGN])
    return Account(**counts, first_missing=tuple(first_missing[:10]))


def latencies(traffic: Round, ledger: Ledger, wait: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give when each judged trace was begun (monotonic seconds), and how long after its release its verdict came out.

    From the first time that one of its requests is sent; traces of which a request had to be sent again are left out.
    """
    shape = traffic.shape
    request_of = np.repeat(np.arange(shape.requests), np.diff(traffic.span_ends, prepend=0))
    begun, taken = [], []
    for turn in range(ledger.size.rounds):
        place = slice(turn * shape.requests, (turn + 1) * shape.requests)
        if ledger.giant[turn] or not ledger.sent[place].any():
            continue
        sent = ledger.sent[place]
        once = (ledger.answered[place] > 0) & (ledger.refused[place] == 0) & (ledger.unanswered[place] == 0)
        good = _all(once[request_of], traffic.trace_of, shape.traces)
        first = _least(np.where(sent > 0, sent, np.inf)[request_of], traffic.trace_of, shape.traces)
        judged = ledger.judged[turn * shape.traces : (turn + 1) * shape.traces]
        good &= judged > 0
        begun.append(first[good])
        taken.append(judged[good] - first[good] - wait)
    if not begun:
        return np.empty(0), np.empty(0)
    return np.concatenate(begun), np.concatenate(taken)


def answers(ledger: Ledger) -> NDArray[np.float64]:
    """Give how long each accepted request waited for its answer, seconds, from its first attempt."""
    good = ledger.answered > 0
    return np.asarray(ledger.answered[good] - ledger.sent[good])


def _all(holds: NDArray[np.bool_], trace_of: NDArray[np.int64], traces: int) -> NDArray[np.bool_]:
    """For each trace, whether something holds for all of its spans; False for a trace without spans."""
    found = np.bincount(trace_of, minlength=traces) > 0
    found[trace_of[~holds]] = False
    return found


def _least(values: NDArray[np.float64], trace_of: NDArray[np.int64], traces: int) -> NDArray[np.float64]:
    """For each trace, the least of its spans' values; infinity for a trace without spans."""
    found = np.full(traces, np.inf)
    np.minimum.at(found, trace_of, values)
    return found
