"""Which spans of a trace belong together where only one process is seen: those below one entry. Pure.

A service that is called three times in a trace has three spans with remote parents, and whatever it does for one call is
no business of the others. So each is a trace by itself: the same work gives the same trace, however often it is asked for.
"""

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import cast

from otel_tracead.sdk.heads import Head
from otel_tracead.traces.trace import Trace


def local_traces(trace: Trace) -> list[Trace]:
    """Divide a trace whose spans are `Head`s by its local roots, in order of their start.

    An orphan goes with the root that was open when it began, the one that began last; else with the first. All keep
    the trace's id but in their heads, where all parts but the first get one of their own, so that they are told apart
    wherever heads are written.
    """
    heads = cast("Sequence[Head]", trace.spans)
    roots = [index for index, head in enumerate(heads) if head.is_root]
    if len(roots) <= 1:
        return [trace]
    roots.sort(key=lambda index: _start(heads[index]))
    members: dict[int, list[int]] = {root: [] for root in roots}
    by_id = {head.span_id: index for index, head in enumerate(heads)}
    tops: dict[int, int] = {}
    for index in range(len(heads)):
        top = _top(index, heads, by_id, tops)
        members[top if top in members else _open_at(_start(heads[top]), heads, roots)].append(index)
    return [_part(trace, members[root], root if number else None) for number, root in enumerate(roots)]


def _top(index: int, heads: Sequence[Head], by_id: Mapping[bytes, int], tops: dict[int, int]) -> int:
    """Give the index of the uppermost span above a span; what was found on the way is remembered in *tops*."""
    path = []
    while index not in tops:
        path.append(index)
        tops[index] = index  # for now: who comes by again is in a circle
        parent = None if heads[index].is_root else by_id.get(heads[index].parent_id)
        if parent is None:
            break
        index = parent
    top = tops[index]
    for one in path:
        tops[one] = top
    return top


def _open_at(time: int, heads: Sequence[Head], roots: Sequence[int]) -> int:
    around = [root for root in roots if _start(heads[root]) <= time <= (heads[root].readable.end_time or 0)]
    return around[-1] if around else roots[0]


def _start(head: Head) -> int:
    return head.readable.start_time or 0


def _part(trace: Trace, indices: Sequence[int], root: int | None) -> Trace:
    heads = [cast("Head", trace.spans[index]) for index in indices]
    if root is not None:
        own_id = cast("Head", trace.spans[root]).span_id
        derived = blake2b(trace.trace_id + own_id, digest_size=16, person=b"tracead").digest()
        heads = [head.of_trace(derived) for head in heads]
    return Trace(
        trace_id=trace.trace_id,
        spans=list(heads),
        envelopes=[trace.envelopes[index] for index in indices],
        release=trace.release,
        holds=(),
        released_at=trace.released_at,
    )
