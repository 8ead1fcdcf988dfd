"""Two replicas on one Kafka topic, one of them taken away: are all spans there, and is any trace judged in part?

`python -m benchmarks.kafka_replicas` starts a broker, fills a topic that is keyed by trace id with spans of the simulated
shop as its services export them, and has `otel-tracead run` processes share it (examples/kafka-replicas.yaml). Each
replica exports to a sink of its own, so that what each said of a trace can be told apart.
"""

import argparse
import json
import random
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from itertools import count
from pathlib import Path
from signal import SIGKILL
from typing import Any, Final, Literal

import confluent_kafka
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]
from otel_tracead_exporters.kafka.records import RecordCutter

from benchmarks import report
from benchmarks.spans import BUNDLED, ROOT
from otel_tracead.generator import Scenario, requests, simulate
from otel_tracead.wire.otlp import Envelopes, decode_request, encode_request
from tools.peers import Process, free_port
from tools.peers.backend import Backend
from tools.peers.kafka import Broker
from tools.peers.process import HOST

Event = Literal["nothing", "kill", "stop", "join"]
EVENTS: Final[Mapping[Event, str]] = {
    "nothing": "nobody comes or goes",
    "kill": "one is killed (SIGKILL), another takes its place",
    "stop": "one is stopped (SIGTERM), another takes its place",
    "join": "a third one joins",
}

_EXAMPLE: Final = ROOT / "examples" / "kafka-replicas.yaml"
_TOPIC: Final = "spans"
_PATIENCE: Final = 120.0  # seconds
_VERDICT: Final = (b"tracead.trace.anomalous", b"tracead.unscored")
_LATE: Final = b"tracead.late"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is done.

    Attributes:
        event: what happens.
        at: when, as a share of the traffic's time.
        seconds: of traffic.
        traces_per_second: of the shop.
        wait: the processor's `wait_duration`, in seconds.
        export_interval: each service exports so often, in seconds.
        session_timeout: after which the group takes a silent member for dead, in seconds.
        partitions: of the topic.
        model: of the processor.
    """

    event: Event
    at: float = 0.4
    seconds: float = 60.0
    traces_per_second: float = 60.0
    wait: float = 10.0
    export_interval: float = 5.0
    session_timeout: float = 6.0
    partitions: int = 12
    model: Path = BUNDLED


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of it.

    Attributes:
        event: what was done.
        spans: how many were written to the topic.
        traces: how many they make.
        missing: spans that no replica handed on.
        duplicates: spans that were handed on once more than needed.
        judged_again: traces with more than one verdict.
        judged_in_part: traces with a verdict on a part of their spans.
        late: spans that came after their trace's verdict.
        contradictions: traces of which one verdict says anomalous and another does not.
        seconds_behind: from the last span written until everything was handed on, less `wait_duration`.
    """

    event: Event
    spans: int
    traces: int
    missing: int
    duplicates: int
    judged_again: int
    judged_in_part: int
    late: int
    contradictions: int
    seconds_behind: float


@dataclass(slots=True)
class _Said:
    """What one replica said of one trace.

    Attributes:
        spans: its spans that went on with or before a verdict, by what they are.
        verdicts: whether each verdict calls it anomalous.
        late: how many of its spans were late.
    """

    spans: set[bytes] = field(default_factory=set)
    verdicts: list[bool] = field(default_factory=list)
    late: int = 0


class Replica(Process):
    """A running `otel-tracead run` with the example's configuration.

    Attributes:
        sink: where it exports to.
    """

    def __init__(self, folder: Path, number: int, broker: str, sink: Backend, plan: Plan) -> None:
        self.sink = sink
        health, metrics = free_port(), free_port()
        self._metrics = f"http://{HOST}:{metrics}/metrics"
        reader = {"pull": {"exporter": {"prometheus": {"host": HOST, "port": metrics}}}}
        changed = {
            "extensions.health_check.endpoint": f"{HOST}:{health}",
            "receivers.kafka.heartbeat_interval": f"{plan.session_timeout / 5:g}s",
            "service.telemetry.metrics.readers": json.dumps([reader]),
        }
        sets = [argument for key, value in changed.items() for argument in ("--set", f"{key}={value}")]
        super().__init__(
            [sys.executable, "-m", "otel_tracead", "run", "--config", _EXAMPLE, *sets],
            log=folder / f"replica-{number}.log",
            ready=lambda: self.metric("otelcol_process_uptime") > 0,
            env={
                "KAFKA_BROKERS": broker,
                "KAFKA_TOPIC": _TOPIC,
                "KAFKA_SESSION": f"{plan.session_timeout:g}s",
                "TRACEAD_MODEL": str(plan.model),
                "TRACEAD_WAIT": f"{plan.wait:g}s",
                "DOWNSTREAM_GRPC": sink.target,
            },
        )

    def metric(self, name: str) -> float:
        """Read a metric, summed over its labels; 0 while nobody answers."""
        try:
            with urllib.request.urlopen(self._metrics, timeout=2) as answer:
                lines = answer.read().decode().splitlines()
        except OSError:
            return 0.0
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.partition("{")[0].split(" ")[0] == name)

    @property
    def partitions(self) -> int:
        """How many partitions it has."""
        return int(
            self.metric("otelcol_kafka_receiver_partition_start")
            - self.metric("otelcol_kafka_receiver_partition_close")
        )

    @property
    def idle(self) -> bool:
        """Whether it has read everything, and handed on what it read."""
        left = self.metric("otelcol_kafka_receiver_offset_lag") + self.metric(
            "otelcol_receiver_tracead_kafka_unsettled"
        )
        return left == 0


class Writer(threading.Thread):
    """Writes what the shop's services export, each at its time, cut and keyed as `partition_traces_by_id` does it.

    Attributes:
        spans: what was written, by trace id: each span's bytes.
        finished: when the last record was written.
    """

    def __init__(self, broker: str, plan: Plan) -> None:
        super().__init__(name="writer", daemon=True)
        start = time.time_ns()
        scenario = Scenario(
            seed=7,
            start_unix_nano=start,
            duration_s=int(plan.seconds),
            traces_per_second=plan.traces_per_second,
            daily_swing=0.0,  # as many at night
        )
        self._requests = sorted(
            _out_of_step(requests(simulate(scenario), export_interval_s=plan.export_interval), plan)
        )
        self._producer = confluent_kafka.Producer(
            {"bootstrap.servers": broker, "partitioner": "fnv1a_random", "acks": "all", "linger.ms": 20, "log_level": 0}
        )
        self._cutter = RecordCutter(encode_request, _TOPIC, by_trace=True)
        self._start = start
        self.spans: dict[bytes, set[bytes]] = defaultdict(set)
        self.finished = 0.0

    def run(self) -> None:
        """Write."""
        begun = time.monotonic()
        envelopes = Envelopes()
        for at, body in self._requests:
            due = begun + (at - self._start) / 1e9
            while (wait := due - time.monotonic()) > 0:
                self._producer.poll(min(wait, 0.1))
            for record in self._cutter.cut(decode_request(body, envelopes)):
                self._producer.produce(record.topic, value=record.value, key=record.key)
                for _, span in record.batch:
                    self.spans[bytes.fromhex((record.key or b"").decode())].add(span)
        left = self._producer.flush(30)
        if left:
            raise RuntimeError(f"{left} records could not be written")
        self.finished = time.monotonic()


def _out_of_step(exported: Iterable[tuple[int, bytes]], plan: Plan) -> Iterator[tuple[int, bytes]]:
    """Delay each instance by a time of its own: they began together, which real ones do not."""
    envelopes = Envelopes()
    for at, body in exported:
        instance = decode_request(body, envelopes).groups[0][0].instance
        yield at + int(random.Random(instance).uniform(0, plan.export_interval) * 1e9), body


def run(plan: Plan, folder: Path) -> Outcome:
    """Do what *plan* says, with logs in *folder*."""
    with ExitStack() as running:
        broker = running.enter_context(Broker(folder / "broker"))
        _make_topic(broker.address, plan.partitions)
        numbers = count(1)
        replicas: list[Replica] = []

        def start() -> Replica:
            sink = running.enter_context(Backend())
            replica = running.enter_context(Replica(folder, next(numbers), broker.address, sink, plan))
            replicas.append(replica)
            return replica

        first, second = start(), start()
        _wait_for(
            lambda: {first.partitions, second.partitions} == {plan.partitions // 2}, "the partitions to be shared"
        )
        writer = Writer(broker.address, plan)
        writer.start()
        time.sleep(plan.seconds * plan.at)
        alive = {first, second}
        if plan.event == "kill":
            first.signal(SIGKILL)
            first.wait()
            alive = {second, start()}
        elif plan.event == "stop":
            if first.stop() != 0:
                raise RuntimeError(f"it did not stop cleanly:\n{first.tail()}")
            alive = {second, start()}
        elif plan.event == "join":
            alive = {first, second, start()}
        writer.join()
        _wait_for(lambda: sum(one.partitions for one in alive) == plan.partitions, "all partitions to have somebody")
        written = sum(map(len, writer.spans.values()))
        _settle_down([replica.sink for replica in replicas], alive, written)
        last = max(replica.sink.last for replica in replicas)
        for replica in alive:
            if replica.stop() != 0:
                raise RuntimeError(f"it did not stop cleanly:\n{replica.tail()}")
    return _outcome(plan, writer, replicas, last - writer.finished - plan.wait)


def _make_topic(broker: str, partitions: int) -> None:
    admin = AdminClient({"bootstrap.servers": broker, "log_level": 0})
    admin.create_topics([NewTopic(_TOPIC, num_partitions=partitions, replication_factor=1)])[_TOPIC].result(30)


def _wait_for(condition: Any, what: str) -> None:
    until = time.monotonic() + _PATIENCE
    while not condition():
        if time.monotonic() > until:
            raise RuntimeError(f"waited in vain for {what}")
        time.sleep(0.2)


def _settle_down(sinks: Sequence[Backend], alive: Iterable[Replica], written: int) -> None:
    """Wait until every span is there and nothing more is under way; or until nothing has come for long: some are missing."""
    read = [0] * len(sinks)
    there: set[bytes] = set()
    news = time.monotonic()
    while time.monotonic() - news < _PATIENCE / 2:
        for index, sink in enumerate(sinks):
            bodies = sink.bodies[read[index] :]
            read[index] += len(bodies)
            if bodies:
                news = time.monotonic()
            there.update(span[:28] for span in _spans(bodies))  # trace id and span id
        if len(there) >= written and all(one.idle for one in alive):
            return
        time.sleep(0.2)


def _outcome(plan: Plan, writer: Writer, replicas: Iterable[Replica], behind: float) -> Outcome:
    said = [_said(replica.sink.bodies, writer.spans) for replica in replicas]
    handed_on: Counter[bytes] = Counter()
    for one in said:
        handed_on.update(one.handed_on)
    again = in_part = contradictions = 0
    for trace, spans in writer.spans.items():
        heard = [one.traces[trace] for one in said if trace in one.traces]
        verdicts = [verdict for each in heard for verdict in each.verdicts]
        again += len(verdicts) > 1
        contradictions += len(set(verdicts)) > 1
        in_part += any(each.verdicts and len(each.spans) < len(spans) for each in heard)
    everything = [span for spans in writer.spans.values() for span in spans]
    return Outcome(
        event=plan.event,
        spans=len(everything),
        traces=len(writer.spans),
        missing=sum(span not in handed_on for span in everything),
        duplicates=sum(handed_on.values()) - len(handed_on),
        judged_again=again,
        judged_in_part=in_part,
        late=sum(each.late for one in said for each in one.traces.values()),
        contradictions=contradictions,
        seconds_behind=behind,
    )


@dataclass(slots=True)
class _Replica:
    """What one replica said.

    Attributes:
        handed_on: the spans as they were written, how often each.
        traces: what it said of each.
    """

    handed_on: Counter[bytes] = field(default_factory=Counter)
    traces: dict[bytes, _Said] = field(default_factory=dict)


def _said(bodies: Iterable[bytes], written: Mapping[bytes, set[bytes]]) -> _Replica:
    found = _Replica()
    for span in _spans(bodies):
        trace = span[2:18]
        original = next((one for one in written.get(trace, ()) if span.startswith(one)), None)
        if original is None:
            raise RuntimeError("a span was handed on that nobody wrote")
        found.handed_on[original] += 1
        said = found.traces.setdefault(trace, _Said())
        added = span[len(original) :]
        if _LATE in added:
            said.late += 1
            continue
        said.spans.add(original)
        if any(key in added for key in _VERDICT):
            said.verdicts.append(b"tracead.trace.level" in added)
    return found


def _spans(bodies: Iterable[bytes]) -> Iterator[bytes]:
    envelopes = Envelopes()
    for body in bodies:
        for _, span in decode_request(body, envelopes):
            yield span


def table(outcomes: Iterable[Outcome]) -> str:
    """Put *outcomes* into lines."""
    head = (
        f"{'':<52}{'spans':>8}{'missing':>9}{'twice':>8}{'traces':>8}{'judged again':>14}{'judged in part':>16}"
        f"{'late spans':>12}{'contradictions':>16}{'s behind':>10}"
    )
    return "\n".join([head, *map(_row, outcomes)])


def _row(one: Outcome) -> str:
    return (
        f"{EVENTS[one.event]:<52}{one.spans:>8}{one.missing:>9}{one.duplicates / one.spans:>8.2%}{one.traces:>8}"
        f"{one.judged_again / one.traces:>14.2%}{one.judged_in_part / one.traces:>16.2%}{one.late / one.spans:>12.2%}"
        f"{one.contradictions:>16}{one.seconds_behind:>10.1f}"
    )


def main() -> None:
    """Measure, print and write down."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kafka_replicas", description=__doc__)
    parser.add_argument("--events", nargs="*", choices=tuple(EVENTS), default=tuple(EVENTS), metavar="EVENT")
    parser.add_argument("--seconds", type=float, default=90.0, help="of traffic (90)")
    parser.add_argument("--rate", type=float, default=60.0, help="traces a second (60)")
    parser.add_argument("--output", type=Path, default=report.RESULTS / "kafka-replicas", help="without its ending")
    arguments = parser.parse_args()
    document = report.header("benchmarks.kafka_replicas", sys.argv[1:])
    outcomes = []
    for event in arguments.events:
        plan = Plan(event=event, seconds=arguments.seconds, traces_per_second=arguments.rate)
        with tempfile.TemporaryDirectory() as folder:
            outcomes.append(run(plan, Path(folder)))
        print(table(outcomes[-1:]), flush=True)
    plan = Plan(event="nothing")
    setting = (
        f"{plan.partitions} partitions, two replicas; wait_duration {plan.wait:g} s, services export every "
        f"{plan.export_interval:g} s, session_timeout {plan.session_timeout:g} s, offsets committed every second. The event comes "
        f"after {plan.at * arguments.seconds:g} of {arguments.seconds:g} s."
    )
    document |= {"setting": setting, "outcomes": [asdict(outcome) for outcome in outcomes]}
    report.write(
        arguments.output, "Replicas on one Kafka topic that is keyed by trace id", document, [setting, table(outcomes)]
    )


if __name__ == "__main__":
    main()
