"""`SpanBatch`: spans as bytes under their envelopes, the one thing that flows through the pipeline."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Self


class Envelope:
    """What spans of one resource and one scope share; immutable, compared by identity, interned by `Envelopes`.

    Attributes:
        resource: the encoded fields of `ResourceSpans` without its scope spans (resource, schema URL, unknown ones).
        scope: the encoded fields of `ScopeSpans` without its spans.
        attributes: the resource's attributes as strings, for labels and reports.
        service: `service.name`, or an empty string.
        instance: what tells two instances of a service apart, and whose clock its spans share.
    """

    __slots__ = ("attributes", "instance", "resource", "scope", "service")

    def __init__(self, resource: bytes, scope: bytes, attributes: Mapping[str, str]) -> None:
        self.resource = resource
        self.scope = scope
        self.attributes = attributes
        self.service = attributes.get("service.name", "")
        self.instance = (
            attributes.get("service.instance.id")
            or attributes.get("k8s.pod.name")
            or attributes.get("host.name")
            or attributes.get("host.ip")
            or self.service
        )

    def __repr__(self) -> str:
        return f"Envelope(service={self.service!r}, instance={self.instance!r})"


class TranslatedSpan(bytes):
    """An OTLP span that came in another format; keeps the original beside the translation.

    Equal to the plain bytes of the translation, so that everything but the exporter of that format may ignore it.

    Attributes:
        origin: the span as it came (a Zipkin v2 JSON object).
    """

    origin: bytes

    def __new__(cls, encoded: bytes, origin: bytes) -> Self:
        """Wrap *encoded*, the OTLP protobuf of the span whose original form is *origin*."""
        self = super().__new__(cls, encoded)
        self.origin = origin
        return self


@dataclass(slots=True)
class SpanBatch:
    """Encoded OTLP spans, grouped by envelope; an envelope may stand in several groups.

    Attributes:
        groups: (envelope, spans) pairs; each span is the encoded `opentelemetry.proto.trace.v1.Span`.
    """

    groups: list[tuple[Envelope, list[bytes]]] = field(default_factory=list)

    def __len__(self) -> int:
        """Count the spans."""
        return sum(len(spans) for _, spans in self.groups)

    def __iter__(self) -> Iterator[tuple[Envelope, bytes]]:
        """Walk over (envelope, span)."""
        for envelope, spans in self.groups:
            for span in spans:
                yield envelope, span

    def size(self) -> int:
        """Count the bytes of the spans, without their envelopes."""
        return sum(sum(map(len, spans)) for _, spans in self.groups)


def group(envelopes: Iterable[Envelope], spans: Iterable[bytes]) -> SpanBatch:
    """Regroup parallel sequences of envelopes and spans into a batch; the order within an envelope is kept."""
    groups: dict[Envelope, list[bytes]] = {}
    for envelope, span in zip(envelopes, spans, strict=True):
        found = groups.get(envelope)
        if found is None:
            groups[envelope] = [span]
        else:
            found.append(span)
    return SpanBatch(list(groups.items()))


def concatenate(batches: Iterable[SpanBatch]) -> SpanBatch:
    """Join batches into one with a single group for each envelope."""
    groups: dict[Envelope, list[bytes]] = {}
    for batch in batches:
        for envelope, spans in batch.groups:
            found = groups.get(envelope)
            if found is None:
                groups[envelope] = list(spans)
            else:
                found.extend(spans)
    return SpanBatch(list(groups.items()))
