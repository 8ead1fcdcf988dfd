"""The catalogue of every metric that the stage emits.

Nothing else can be emitted: `otel_tracead.telemetry` refuses a metric that is not in `CATALOGUE`.
The names without `_total` are those of the Collector's default reader.
"""

from dataclasses import dataclass
from enum import StrEnum


class Instrument(StrEnum):
    """The kind of a metric, as Prometheus calls it."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    """One row of the catalogue.

    Attributes:
        name: the full Prometheus name.
        instrument: counter, gauge or histogram.
        unit: in UCUM, as the Collector's metadata has it.
        description: one sentence.
        labels: the label names, in order.
        buckets: upper bounds of a histogram, without +Inf.
        highest: where several observe one value (a processor in two pipelines), the highest counts, not the sum.
    """

    name: str
    instrument: Instrument
    unit: str
    description: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    highest: bool = False


_C, _G, _H = Instrument.COUNTER, Instrument.GAUGE, Instrument.HISTOGRAM
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_SPANS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0, 10000.0)

RECEIVER_ACCEPTED = Metric(
    "otelcol_receiver_accepted_spans", _C, "{span}", "Spans accepted and handed on.", ("receiver", "transport")
)
RECEIVER_REFUSED = Metric(
    "otelcol_receiver_refused_spans",
    _C,
    "{span}",
    "Spans refused: the sender was told to come back.",
    ("receiver", "transport"),
)
RECEIVER_FAILED = Metric(
    "otelcol_receiver_failed_spans",
    _C,
    "{span}",
    "Spans that could not be taken for an error of ours.",
    ("receiver", "transport"),
)
RECEIVER_REQUESTS = Metric(
    "otelcol_receiver_requests",
    _C,
    "{request}",
    "Requests by what became of them.",
    ("receiver", "transport", "outcome"),
)
KAFKA_RECORDS = Metric(
    "otelcol_kafka_receiver_records",
    _C,
    "{record}",
    "Records read from Kafka.",
    ("receiver", "topic", "partition"),
)
KAFKA_UNMARSHAL_FAILED = Metric(
    "otelcol_kafka_receiver_unmarshal_failed_spans",
    _C,
    "{record}",
    "Records that cannot be read as spans, and were left out.",
    ("receiver", "topic", "partition"),
)
KAFKA_OFFSET = Metric(
    "otelcol_kafka_receiver_current_offset",
    _G,
    "1",
    "Offset of the record read last; -1 before the first.",
    ("receiver", "topic", "partition"),
)
KAFKA_LAG = Metric(
    "otelcol_kafka_receiver_offset_lag",
    _G,
    "{record}",
    "Records at the broker that were not read yet; 0 for a partition that somebody else reads.",
    ("receiver", "topic", "partition"),
)
KAFKA_PARTITION_START = Metric(
    "otelcol_kafka_receiver_partition_start", _C, "{partition}", "Partitions that became ours.", ("receiver",)
)
KAFKA_PARTITION_CLOSE = Metric(
    "otelcol_kafka_receiver_partition_close", _C, "{partition}", "Partitions that went to others.", ("receiver",)
)
KAFKA_DUPLICATES = Metric(
    "otelcol_receiver_tracead_kafka_duplicates",
    _C,
    "{record}",
    "Records left out because the same one came shortly before: a producer sent it twice.",
    ("receiver", "topic", "partition"),
)
KAFKA_UNSETTLED = Metric(
    "otelcol_receiver_tracead_kafka_unsettled",
    _G,
    "{record}",
    "Records whose spans are not yet handed on; their offsets are not committed.",
    ("receiver",),
)
KAFKA_BROKERS_UP = Metric(
    "otelcol_receiver_tracead_kafka_brokers_up", _G, "{broker}", "Brokers that there is a connection to.", ("receiver",)
)
KAFKA_ERRORS = Metric(
    "otelcol_receiver_tracead_kafka_errors", _C, "{error}", "Errors that the Kafka client reported.", ("receiver",)
)
KAFKA_COMMIT_FAILURES = Metric(
    "otelcol_receiver_tracead_kafka_commit_failures",
    _C,
    "{partition}",
    "Offsets that the broker did not take; they are committed again.",
    ("receiver",),
)
KAFKA_DEAD_LETTERS_REFUSED = Metric(
    "otelcol_receiver_tracead_kafka_dead_letters_refused",
    _C,
    "{record}",
    "Unreadable records that the dead letter topic did not take either.",
    ("receiver",),
)
PROCESSOR_INCOMING = Metric("otelcol_processor_incoming_items", _C, "{item}", "Spans that came in.", ("processor",))
PROCESSOR_OUTGOING = Metric("otelcol_processor_outgoing_items", _C, "{item}", "Spans that went on.", ("processor",))
FANOUT_DROPPED = Metric(
    "otelcol_tracead_fanout_spans_dropped",
    _C,
    "{span}",
    "Spans that one of several consumers refused for good; the others have them.",
    ("component",),
)
EXPORTER_SENT = Metric("otelcol_exporter_sent_spans", _C, "{span}", "Spans that the backend took.", ("exporter",))
EXPORTER_FAILED = Metric(
    "otelcol_exporter_send_failed_spans",
    _C,
    "{span}",
    "Spans given up: the backend refused them for good.",
    ("exporter",),
)
EXPORTER_ENQUEUE_FAILED = Metric(
    "otelcol_exporter_enqueue_failed_spans",
    _C,
    "{span}",
    "Spans that a full sending queue did not take.",
    ("exporter",),
)
EXPORTER_RETRIES = Metric(
    "otelcol_exporter_tracead_retries", _C, "{request}", "Requests that were sent again.", ("exporter",)
)
EXPORTER_REJECTED = Metric(
    "otelcol_exporter_tracead_rejected_spans",
    _C,
    "{span}",
    "Spans that the backend rejected in a partial success.",
    ("exporter",),
)
EXPORTER_QUEUE_SIZE = Metric(
    "otelcol_exporter_queue_size", _G, "{batch}", "Fill of the sending queue.", ("exporter", "data_type")
)
EXPORTER_QUEUE_CAPACITY = Metric(
    "otelcol_exporter_queue_capacity", _G, "{batch}", "Capacity of the sending queue.", ("exporter", "data_type")
)
EXPORTER_IN_FLIGHT = Metric(
    "otelcol_exporter_in_flight_requests", _G, "{request}", "Requests under way.", ("exporter",)
)
MEMORY_LIMITER_ACCEPTED = Metric(
    "otelcol_processor_memory_limiter_accepted_spans", _C, "{span}", "Spans let through.", ("processor",)
)
MEMORY_LIMITER_REFUSED = Metric(
    "otelcol_processor_memory_limiter_refused_spans", _C, "{span}", "Spans refused over the soft limit.", ("processor",)
)
BATCH_SEND_SIZE = Metric(
    "otelcol_processor_batch_batch_send_size", _H, "{span}", "Spans in a batch.", ("processor",), _SPANS
)
BATCH_SIZE_TRIGGER = Metric(
    "otelcol_processor_batch_batch_size_trigger_send", _C, "{times}", "Batches sent for their size.", ("processor",)
)
BATCH_TIMEOUT_TRIGGER = Metric(
    "otelcol_processor_batch_timeout_trigger_send", _C, "{times}", "Batches sent for their age.", ("processor",)
)
STORAGE_COMMITS = Metric(
    "otelcol_extension_tracead_storage_commits", _C, "{commit}", "Transactions written to disk.", ("extension", "store")
)
STORAGE_STORED = Metric(
    "otelcol_extension_tracead_storage_stored", _C, "{record}", "Records written to disk.", ("extension", "store")
)
STORAGE_BYTES = Metric(
    "otelcol_extension_tracead_storage_stored_bytes", _C, "By", "Bytes of those records.", ("extension", "store")
)
STORAGE_RECORDS = Metric(
    "otelcol_extension_tracead_storage_records", _G, "{record}", "Records on disk now.", ("extension", "store")
)
STORAGE_SIZE = Metric(
    "otelcol_extension_tracead_storage_size",
    _G,
    "By",
    "Size of the files on disk, with the log of changes and the reserve.",
    ("extension", "store"),
)
STORAGE_FAILURES = Metric(
    "otelcol_extension_tracead_storage_failures",
    _C,
    "{failure}",
    "Times that the disk was full, read-only or failing; senders were told to come back.",
    ("extension", "store"),
)
STORAGE_DAMAGED = Metric(
    "otelcol_extension_tracead_storage_damaged",
    _C,
    "{record}",
    "Records that were not what had been written, and were put aside; at least one for each damaged file.",
    ("extension", "store"),
)
PROCESS_UPTIME = Metric("otelcol_process_uptime", _G, "s", "Seconds since the start of the process.")
PROCESS_RSS = Metric("otelcol_process_memory_rss", _G, "By", "Resident memory.")
PROCESS_FILES = Metric(
    "otelcol_process_tracead_open_files", _G, "{file}", "File descriptors that are open, sockets too; 0 where unknown."
)
PROCESS_MOST_FILES = Metric(
    "otelcol_process_tracead_max_files",
    _G,
    "{file}",
    "File descriptors that may be open; without one left, who connects is turned away.",
)
LINES_LEFT_OUT = Metric(
    "otelcol_process_tracead_lines_left_out",
    _C,
    "{line}",
    "Lines of the log and of the exporter `debug` that were not written: nobody read them as fast as they came.",
)
PROCESS_CPU = Metric("otelcol_process_cpu_seconds", _C, "s", "User and system time of the process.")

TRACES_OPEN = Metric(
    "otelcol_processor_tracead_traces_open", _G, "{trace}", "Traces that wait for their spans.", ("processor",)
)
SPANS_OPEN = Metric("otelcol_processor_tracead_spans_open", _G, "{span}", "Spans of open traces.", ("processor",))
SPANS_PENDING = Metric(
    "otelcol_processor_tracead_spans_pending",
    _G,
    "{span}",
    "Spans released and not yet taken by the next consumer.",
    ("processor",),
)
TRACES_RELEASED = Metric(
    "otelcol_processor_tracead_traces_released", _C, "{trace}", "Traces released, by reason.", ("processor", "release")
)
TRACES_SCORED = Metric(
    "otelcol_processor_tracead_traces_scored", _C, "{trace}", "Traces that got a verdict.", ("processor",)
)
TRACES_ANOMALOUS = Metric(
    "otelcol_processor_tracead_traces_anomalous",
    _C,
    "{trace}",
    "Traces judged anomalous, by level.",
    ("processor", "level"),
)
SPANS_ANOMALOUS = Metric(
    "otelcol_processor_tracead_spans_anomalous", _C, "{span}", "Spans marked anomalous, by type.", ("processor", "type")
)
TRACES_UNSCORED = Metric(
    "otelcol_processor_tracead_traces_unscored",
    _C,
    "{trace}",
    "Traces forwarded without a verdict, by reason.",
    ("processor", "reason"),
)
TRACES_SAMPLED_OUT = Metric(
    "otelcol_processor_tracead_traces_sampled_out",
    _C,
    "{trace}",
    "Normal traces that sampling left out.",
    ("processor",),
)
SPANS_SAMPLED_OUT = Metric(
    "otelcol_processor_tracead_spans_sampled_out",
    _C,
    "{span}",
    "Spans of normal traces that sampling left out.",
    ("processor",),
)
SPANS_DROPPED = Metric(
    "otelcol_processor_tracead_spans_dropped",
    _C,
    "{span}",
    "Spans that the next consumer refused for good.",
    ("processor",),
)
SPANS_LATE = Metric(
    "otelcol_processor_tracead_spans_late", _C, "{span}", "Spans that came after their trace's verdict.", ("processor",)
)
SPANS_INVALID_ID = Metric(
    "otelcol_processor_tracead_spans_invalid_id",
    _C,
    "{span}",
    "Spans without valid ids, forwarded ungrouped.",
    ("processor",),
)
SPANS_WITHDRAWN = Metric(
    "otelcol_processor_tracead_spans_withdrawn",
    _C,
    "{span}",
    "Spans of open traces that were let go because another replica now has their Kafka partition.",
    ("processor",),
)
SPANS_REPLAYED = Metric(
    "otelcol_processor_tracead_spans_replayed",
    _C,
    "{span}",
    "Spans read again from Kafka that were handed on before, and let go.",
    ("processor",),
)
SPANS_SPOOFED = Metric(
    "otelcol_processor_tracead_spans_spoofed",
    _C,
    "{span}",
    "Spans that came with `tracead.*` attributes of somebody else.",
    ("processor",),
)
SPANS_UNKNOWN_LABEL = Metric(
    "otelcol_processor_tracead_spans_unknown_label",
    _C,
    "{span}",
    "Spans whose label the model never saw.",
    ("processor",),
)
TRACES_INCOMPLETE = Metric(
    "otelcol_processor_tracead_traces_incomplete",
    _C,
    "{trace}",
    "Traces released with orphans or without one root.",
    ("processor",),
)
TRACES_NOT_RECORDED = Metric(
    "otelcol_processor_tracead_traces_not_recorded",
    _C,
    "{trace}",
    "Traces that `record` left out, to keep up or for an error.",
    ("processor",),
)
SCORING_FAILURES = Metric(
    "otelcol_processor_tracead_scoring_failures",
    _C,
    "{batch}",
    "Batches that could not be scored and went on unscored.",
    ("processor",),
)
SCORING_DURATION = Metric(
    "otelcol_processor_tracead_scoring_duration",
    _H,
    "s",
    "Time to score one batch of traces.",
    ("processor",),
    _SECONDS,
)
RELEASE_LATENCY = Metric(
    "otelcol_processor_tracead_release_latency",
    _H,
    "s",
    "From a trace's release to its handing on.",
    ("processor",),
    _SECONDS,
)
TRACE_SPANS = Metric(
    "otelcol_processor_tracead_trace_span_count", _H, "{span}", "Spans in a released trace.", ("processor",), _SPANS
)
JOURNAL_REQUESTS = Metric(
    "otelcol_processor_tracead_journal_requests",
    _G,
    "{request}",
    "Requests in the storage whose spans are not all handed on.",
    ("processor",),
)
JOURNAL_SPANS = Metric(
    "otelcol_processor_tracead_journal_spans",
    _C,
    "{span}",
    "Spans found in the storage at the start: gathered as if they had just come, sent again with the verdict that they"
    " had, or skipped since they were handed on.",
    ("processor", "outcome"),
)
JOURNAL_FAILURES = Metric(
    "otelcol_processor_tracead_journal_failures",
    _C,
    "{record}",
    "Records that the storage did not take (they are tried again, or senders are told to come back) or could not give.",
    ("processor", "operation"),
)
MODEL_INFO = Metric(
    "otelcol_processor_tracead_model_info",
    _G,
    "1",
    "Which model judges; always 1.",
    ("processor", "name", "version", "execution_provider"),
    highest=True,
)
MODEL_AGE = Metric(
    "otelcol_processor_tracead_model_age", _G, "s", "Since the model was made.", ("processor",), highest=True
)
MODEL_LOADS = Metric(
    "otelcol_processor_tracead_model_loads",
    _C,
    "{load}",
    "Models that were to replace the one in use: loaded, refused, or reverted since they could not judge.",
    ("processor", "outcome"),
)
DRIFT = Metric(
    "otelcol_processor_tracead_drift_ratio",
    _G,
    "1",
    "How many times as long as in training labels take: the quantiles 0, 0.5 and 1 over the labels with enough figures.",
    ("processor", "quantile"),
    highest=True,
)
DRIFT_LABELS = Metric(
    "otelcol_processor_tracead_drift_labels",
    _G,
    "{label}",
    "Labels with enough figures of the last half hour to say how far they drifted.",
    ("processor",),
    highest=True,
)

CATALOGUE: tuple[Metric, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Metric))
