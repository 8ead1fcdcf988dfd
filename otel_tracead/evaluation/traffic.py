"""Traffic for the experiments when no files are given: the simulated shop, with traces of every length from 4 to 20.

The shop's own requests have some of these lengths only. A back office that asks the shop's services for reports brings
the others, each request always with the same calls.
"""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final

from otel_tracead.generator import Scenario, requests, simulate
from otel_tracead.generator.shop import SHOP
from otel_tracead.generator.topology import Call, Internal, Operation, Protocol, Service, Step, Topology, operations
from otel_tracead.traces.encoding import Encoder, Events, concatenate
from otel_tracead.traces.offline import gather
from otel_tracead.traces.trace import Trace
from otel_tracead.wire.otlp import Envelopes, decode_request

_START_UNIX_NANO: Final = 1_767_272_400 * 10**9  # 2026-01-01T13:00:00Z
_CHUNK: Final = 2_000  # traces
_WEIGHT: Final = 3.0  # of each report among the shop's requests, whose weights sum to 100


def _back_office() -> Topology:
    known: dict[str, Operation] = {}
    for root, _ in SHOP.roots:
        for operation in operations(root):
            known.setdefault(operation.name.rpartition("/")[2], operation)
    office = Service(name="back-office", language="python", scope="opentelemetry.instrumentation.flask", workers=24)
    # How many spans each of these calls brings.
    products, cart, quote = Call(known["ListProducts"]), Call(known["GetCart"]), Call(known["get-quote"])  # 3, 3, 5
    added, emptied = Call(known["AddItem"]), Call(known["EmptyCart"])  # 5, 4
    rate, currencies = Call(known["Convert"]), Call(known["GetSupportedCurrencies"])  # 2, 2
    rendered = Internal("render-report", 4.0)  # 1

    def report(name: str, *steps: Step) -> tuple[Operation, float]:
        operation = Operation(
            service=office, name=f"GET /reports/{name}", protocol=Protocol.HTTP, median_ms=2.0, steps=steps
        )
        return operation, _WEIGHT

    return Topology(
        (
            *SHOP.roots,
            report("stock", products),  # 4 spans
            report("carts", products, cart),  # 7
            report("postage", quote, products),  # 9
            report("abandoned", quote, emptied),  # 10
            report("test-order", added, quote, rendered),  # 12
            report("clean-up", added, quote, emptied),  # 15
            report("prices", added, quote, emptied, rate),  # 17
            report("markets", added, quote, emptied, currencies, rate),  # 19
            report("year", added, quote, emptied, currencies, rate, rendered),  # 20
        )
    )


def simulated(duration_s: float, encoder: Encoder, progress: Callable[[float], None] = lambda _share: None) -> Events:
    """Simulate *duration_s* seconds of traffic without faults, about 25 traces a second, the same every time."""
    scenario = Scenario(seed=1, start_unix_nano=_START_UNIX_NANO, duration_s=duration_s, traces_per_second=18.0)
    run = simulate(scenario, _back_office())

    def bodies() -> Iterator[bytes]:
        for at_unix_nano, body in requests(run):
            progress(min(1.0, (at_unix_nano - _START_UNIX_NANO) / (duration_s * 1e9)))
            yield body

    envelopes = Envelopes()
    traces: Iterator[Trace] = gather(decode_request(body, envelopes) for body in bodies())
    parts = []
    while chunk := list(islice(traces, _CHUNK)):
        parts.append(encoder.encode(chunk))
    return concatenate(parts)
