"""The books of a stage: what its metrics say came in must be what they say went out, was given up or is still held."""

import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from otel_tracead.service.metrics import exposition
from otel_tracead.telemetry import Telemetry

Row = tuple[str, Mapping[str, str], float]


@dataclass(frozen=True)
class Books:
    """Every number of a stage at one moment.

    Attributes:
        rows: (name, labels, value).
    """

    rows: list[Row]

    @classmethod
    def of(cls, telemetry: Telemetry) -> "Books":
        return cls.read(exposition(telemetry).decode())

    @classmethod
    def at(cls, url: str) -> "Books":
        with urllib.request.urlopen(url, timeout=20) as answer:
            return cls.read(answer.read().decode())

    @classmethod
    def read(cls, text: str) -> "Books":
        families = text_string_to_metric_families(text)  # it appends _total to the names of counters
        samples = (one for family in families for one in family.samples)
        return cls([(one.name.removesuffix("_total"), one.labels, one.value) for one in samples])

    def total(self, name: str, **labels: str) -> int:
        """Add up *name* over everything that has these labels."""
        found = (value for own, of, value in self.rows if own == name and labels.items() <= of.items())
        return round(sum(found))

    @property
    def accepted(self) -> int:
        return self.total("otelcol_receiver_accepted_spans")

    @property
    def refused(self) -> int:
        """What senders were told to come back with, or that it went wrong here; theirs to keep."""
        return self.total("otelcol_receiver_refused_spans") + self.total("otelcol_receiver_failed_spans")

    @property
    def held(self) -> int:
        """Spans in the processor `tracead`."""
        name = "otelcol_processor_tracead_spans"
        return self.total(f"{name}_open") + self.total(f"{name}_pending")

    def queued(self, exporter: str) -> int:
        """Spans in a queue with `sizer: items`."""
        return self.total("otelcol_exporter_queue_size", exporter=exporter)

    def sent(self, exporter: str) -> int:
        return self.total("otelcol_exporter_sent_spans", exporter=exporter)

    def given_up(self, exporter: str) -> int:
        return self.total("otelcol_exporter_send_failed_spans", exporter=exporter)

    def check(self, *exporters: str) -> None:
        """Every span that was accepted is held, or went on, or was dropped and counted; for each exporter by itself.

        For a stage of one pipeline with the processor `tracead` and queues with `sizer: items`.
        """
        came = self.total("otelcol_processor_incoming_items", processor="tracead")
        went = self.total("otelcol_processor_outgoing_items", processor="tracead")
        dropped = self.total("otelcol_processor_tracead_spans_dropped")
        dropped += self.total("otelcol_processor_tracead_spans_sampled_out")
        assert self.accepted == came, ("accepted", self.accepted, "came", came)
        assert came == went + dropped + self.held, ("came", came, "went", went, "dropped", dropped, "held", self.held)
        lost = self.total("otelcol_tracead_fanout_spans_dropped")
        for exporter in exporters:
            taken = self.sent(exporter) + self.given_up(exporter) + self.queued(exporter)
            assert went - lost <= taken <= went, (
                "went",
                went,
                exporter,
                taken,
                "of these queued",
                self.queued(exporter),
            )
