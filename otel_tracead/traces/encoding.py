"""Traces become arrays: labels, self times and tree positions of all their spans, in sequence order."""

import hashlib
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from otel_tracead.traces.distinct import distinct
from otel_tracead.traces.labels import LabelTemplate, with_callee
from otel_tracead.traces.names import REMEMBERED, Names
from otel_tracead.traces.parents import Spans, with_none
from otel_tracead.traces.sequences import Order, Sequences, arrange
from otel_tracead.traces.trace import Trace
from otel_tracead.wire.batch import Envelope
from otel_tracead.wire.heads import HeadReader

_MAX_NAMES = 50_000

Ints = npt.NDArray[np.int64]


@dataclass(slots=True)
class Events:
    """The events of many traces in sequence order, one row an event; `m` rows, trace after trace.

    Attributes:
        offsets: first row of each trace `[traces + 1]`.
        span: index of the event's span in its trace's list of spans `[m]`.
        label: index into `labels` `[m]`.
        self_us: own work in microseconds `[m]`.
        duration_us: response time in microseconds `[m]`.
        start: ns `[m]`.
        parent: row of the parent event, -1 = none `[m]`.
        service: index into `services` `[m]`.
        instance: index into `instances` `[m]`.
        callee: index into `services` of the service that the span called, -1 = none `[m]`.
        roots: spans without a parent id, of each trace `[traces]`.
        orphans: spans whose parent did not come, of each trace `[traces]`.
        root: index of the verdict span in each trace's list of spans `[traces]`.
        labels: the distinct labels, sorted.
        services: the distinct services, sorted.
        instances: the distinct instances, sorted by service.
    """

    offsets: Ints
    span: Ints
    label: Ints
    self_us: npt.NDArray[np.float64]
    duration_us: npt.NDArray[np.float64]
    start: Ints
    parent: Ints
    service: Ints
    instance: Ints
    callee: Ints
    roots: Ints
    orphans: Ints
    root: Ints
    labels: Sequence[str]
    services: Sequence[str]
    instances: Sequence[str]

    def __len__(self) -> int:
        """Count the events."""
        return len(self.span)

    @property
    def traces(self) -> int:
        """Count the traces."""
        return len(self.offsets) - 1

    @property
    def trace(self) -> Ints:
        """The trace of each event `[m]`."""
        return np.repeat(np.arange(self.traces), np.diff(self.offsets))

    @property
    def began(self) -> Ints:
        """When each trace began: its first start, in ns `[traces]`; none is empty."""
        return np.asarray(np.minimum.reduceat(self.start, self.offsets[:-1]))

    @property
    def trace_us(self) -> npt.NDArray[np.float64]:
        """How long each trace took, from its first start to its last end, in microseconds `[traces]`; none is empty."""
        first, start = self.offsets[:-1], self.start / 1e3
        return np.asarray(np.maximum.reduceat(start + self.duration_us, first) - np.minimum.reduceat(start, first))


class Encoder:
    """Encodes traces; remembers the names it met, so that a batch costs no string work for them.

    What it remembers changes nothing about what it gives: the same traces give the same events. Not thread-safe.
    """

    def __init__(self, template: LabelTemplate, order: Order = Order.TREE) -> None:
        self._template = template
        self._order = order
        self._reader = HeadReader(template.attribute_keys, self._code)
        self._reset()

    def _reset(self) -> None:
        self._reader.forget()
        self._codes: list[tuple[int, int, int, int]] = []  # code -> (label, service, instance, place of the label)
        self._columns = np.zeros((4, 0), np.int64)  # the same, code by code
        self._labels: Names[str] = Names()
        self._services: Names[str] = Names()
        self._instances: Names[tuple[str, str]] = Names()
        self._paired = lru_cache(maxsize=REMEMBERED)(self._with_callees)

    def _code(self, envelope: Hashable, name: str, kind: int, status: int, attributes: dict[str, str]) -> int:
        if not isinstance(envelope, Envelope):
            raise TypeError(f"spans are named under an envelope, not {envelope!r}")
        label = self._template.label(envelope, name, kind, status, attributes)
        self._codes.append(
            (
                self._labels.number(label),
                self._services.number(envelope.service),
                self._instances.number((envelope.service, envelope.instance)),
                _place(label),
            )
        )
        return len(self._codes) - 1

    def encode(self, traces: Sequence[Trace]) -> Events:
        """Encode *traces*: valid ids are assumed, everything else may be as odd as it likes."""
        if len(self._codes) > _MAX_NAMES or len(self._labels) > _MAX_NAMES:
            self._reset()
        counts = np.array([len(trace.spans) for trace in traces], np.int64)
        heads = self._reader.read([trace.joined() for trace in traces], [trace.envelopes for trace in traces])
        if self._columns.shape[1] < len(self._codes):
            self._columns = np.ascontiguousarray(np.array(self._codes, np.int64).T)
        label, service, instance, place = self._columns.take(heads.code, axis=1)
        spans = Spans(
            trace=np.arange(len(traces)).repeat(counts),
            span_id=heads.span_id,
            parent_id=heads.parent_id,
            start=heads.start,
            end=heads.end,
            server=heads.server,
            clock=instance,
            label=place,
        )
        found = arrange(spans, len(traces), self._order)
        return self._events(found, spans, counts.cumsum() - counts, label, service)

    def _events(self, found: Sequences, spans: Spans, first: Ints, label: Ints, service: Ints) -> Events:
        order = found.order
        row = np.empty(len(spans) + 1, np.int64)
        row[:] = -1
        row[order] = np.arange(len(order))
        called = with_none(service)[found.callee[order]]
        named, labels = self._named(label[order], called)
        services, service_index = self._services.used(service)
        instances, instance_index = self._instances.used(spans.clock)
        return Events(
            offsets=found.offsets,
            span=order - first[spans.trace[order]],
            label=named,
            self_us=found.self_time[order] / 1e3,
            duration_us=found.duration[order] / 1e3,
            start=spans.start[order],
            parent=row[found.parent[order]],
            service=service_index[service[order]],
            instance=instance_index[spans.clock[order]],
            callee=service_index[called],
            roots=found.roots,
            orphans=found.orphans,
            root=np.maximum(found.root - first, 0),
            labels=labels,
            services=services,
            instances=[name for _, name in instances],
        )

    def _named(self, label: Ints, callee: Ints) -> tuple[Ints, Sequence[str]]:
        """Give each event the index of its label, which names the callee where the template says so."""
        wide = len(self._services) + 1
        pairs, index, _ = distinct(label * wide + (callee + 1 if self._template.callee else 0))
        place, labels = self._paired(wide, pairs.tobytes())
        return place[index], labels

    def _with_callees(self, wide: int, pairs: bytes) -> tuple[Ints, Sequence[str]]:
        """Give the labels of distinct pairs of a label and a service that was called, sorted, and where each pair stands."""
        plain, services = self._labels.known, ["", *self._services.known]
        names = [
            with_callee(plain[one // wide], services[one % wide]) for one in np.frombuffer(pairs, np.int64).tolist()
        ]
        ordered = sorted(range(len(names)), key=names.__getitem__)
        place = np.empty(len(names), np.int64)
        place[ordered] = np.arange(len(ordered))
        return place, [names[one] for one in ordered]


def _place(label: str) -> int:
    """Give a number that orders labels, the same wherever the label comes: 63 bits of a hash."""
    return int.from_bytes(hashlib.blake2b(label.encode("utf-8", "surrogatepass"), digest_size=8).digest()) >> 1


def concatenate(parts: Sequence[Events]) -> Events:
    """Join events of several encodings, with one table of labels, services and instances for all."""
    tables: list[dict[str, int]] = [{}, {}, {}]
    columns: list[list[Ints]] = [[], [], []]
    last: list[tuple[Sequence[str], Ints]] = [((), np.zeros(0, np.int64))] * 3
    callees: list[Ints] = []
    parents: list[Ints] = []
    offsets: list[Ints] = [np.zeros(1, np.int64)]
    rows = 0
    for part in parts:
        for place, (names, column) in enumerate(
            ((part.labels, part.label), (part.services, part.service), (part.instances, part.instance))
        ):
            table = tables[place]
            if names is not last[place][0]:  # parts of one encoding share their tables
                last[place] = names, np.array([table.setdefault(name, len(table)) for name in names], np.int64)
            translated = last[place][1]
            columns[place].append(translated[column] if len(column) else column)
            if place == 1:
                callees.append(np.where(part.callee >= 0, translated[part.callee], -1) if len(column) else column)
        parents.append(np.where(part.parent >= 0, part.parent + rows, -1))
        offsets.append(part.offsets[1:] + rows)
        rows += len(part)

    def joined(name: str) -> Ints:
        return np.concatenate([getattr(part, name) for part in parts]) if parts else np.zeros(0, np.int64)

    return Events(
        offsets=np.concatenate(offsets),
        span=joined("span"),
        label=np.concatenate(columns[0]) if parts else joined("label"),
        self_us=joined("self_us").astype(np.float64),
        duration_us=joined("duration_us").astype(np.float64),
        start=joined("start"),
        parent=np.concatenate(parents) if parts else joined("parent"),
        service=np.concatenate(columns[1]) if parts else joined("service"),
        instance=np.concatenate(columns[2]) if parts else joined("instance"),
        callee=np.concatenate(callees) if parts else joined("callee"),
        roots=joined("roots"),
        orphans=joined("orphans"),
        root=joined("root"),
        labels=list(tables[0]),
        services=list(tables[1]),
        instances=list(tables[2]),
    )


def select(events: Events, traces: Ints) -> Events:
    """Give the events of some traces, in the order of *traces*."""
    lengths = np.diff(events.offsets)[traces]
    offsets = np.concatenate(([0], np.cumsum(lengths)))
    shift = np.repeat(events.offsets[:-1][traces] - offsets[:-1], lengths)
    rows = np.arange(offsets[-1]) + shift
    parent = events.parent[rows]
    return Events(
        offsets=offsets.astype(np.int64),
        span=events.span[rows],
        label=events.label[rows],
        self_us=events.self_us[rows],
        duration_us=events.duration_us[rows],
        start=events.start[rows],
        parent=np.where(parent >= 0, parent - shift, -1),
        service=events.service[rows],
        instance=events.instance[rows],
        callee=events.callee[rows],
        roots=events.roots[traces],
        orphans=events.orphans[traces],
        root=events.root[traces],
        labels=events.labels,
        services=events.services,
        instances=events.instances,
    )
