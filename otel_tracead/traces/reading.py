"""Stored traces, one after the other, from whatever holds them; each source stands for itself."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from otel_tracead.traces.offline import gather
from otel_tracead.traces.trace import Trace
from otel_tracead.wire.batch import SpanBatch
from otel_tracead.wire.files import read_file
from otel_tracead.wire.otlp import Envelopes

Progress = Callable[[float], None]
"""Told the share that was read, from 0 to 1."""

_STEP: Final = 0.002


class Source(Protocol):
    """Something that holds stored spans: no trace of it goes on in another source.

    `str` of it is its name, as messages say it, without secrets.
    """

    @property
    def size(self) -> int:
        """Bytes, or about as much work as so many bytes: its part in the progress."""
        ...

    def batches(self, envelopes: Envelopes, progress: Progress) -> Iterator[SpanBatch]:
        """Read all its spans, from the start each time; never an empty batch.

        Raises:
            InputError: it cannot be read; what was whole before was given.
        """
        ...


@dataclass(frozen=True, slots=True)
class TraceFile:
    """A trace file as a source.

    Attributes:
        path: of any format that `read_file` knows.
    """

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    @property
    def size(self) -> int:
        """Bytes on the disk."""
        return self.path.stat().st_size

    def batches(self, envelopes: Envelopes, progress: Progress) -> Iterator[SpanBatch]:
        """Read all its spans."""
        for _, batch in read_file(self.path, envelopes, progress):
            yield batch


def _silent(_share: float) -> None:
    pass


def read_batches(
    sources: Sequence[Source], progress: Progress = _silent
) -> Iterator[tuple[Source, Iterator[SpanBatch]]]:
    """Give each source with its batches, which must be taken before the next source is.

    Args:
        sources: share their envelopes.
        progress: told the share of all their sizes.

    Raises:
        InputError: a source cannot be read.
    """
    envelopes = Envelopes()
    sizes = [source.size for source in sources]
    whole = max(sum(sizes), 1)
    told = 0.0
    for number, source in enumerate(sources):
        before = sum(sizes[:number])

        def show(share: float, before: int = before, size: int = sizes[number]) -> None:
            nonlocal told
            now = (before + share * size) / whole
            if now >= told + _STEP:
                told = now
                progress(now)

        yield source, source.batches(envelopes, show)
    progress(1.0)


def read_traces(sources: Sequence[Source], progress: Progress = _silent) -> Iterator[Trace]:
    """Give the traces of *sources*; spans without valid ids, and late ones, are left out.

    Raises:
        InputError: a source cannot be read.
    """
    for _, batches in read_batches(sources, progress):
        yield from gather(batches)


def chunks(traces: Iterable[Trace], spans: int) -> Iterator[list[Trace]]:
    """Put traces together until they have *spans* spans; the last chunk may have fewer."""
    chunk: list[Trace] = []
    held = 0
    for trace in traces:
        chunk.append(trace)
        held += len(trace.spans)
        if held >= spans:
            yield chunk
            chunk, held = [], 0
    if chunk:
        yield chunk
