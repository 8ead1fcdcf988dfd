"""An application that scores its own traces: a shop in one process, in which now and then something goes wrong.

python examples/in_process.py                                # the bundled model does not know this shop
python examples/in_process.py --trouble 0 --record traffic   # keep labels and times of normal traffic
otel-tracead train --input traffic --output my-model         # needs the extra `train`
python examples/in_process.py --model my-model               # what goes wrong is marked
"""

import argparse
import random
import time
from collections import Counter
from collections.abc import Sequence

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import SpanKind, Tracer

from otel_tracead.sdk import TraceadSpanProcessor


class Printer(SpanExporter):
    """Stands for the exporter of an application; prints what is anomalous and counts the rest."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Look at the attributes of *spans*."""
        for span in spans:
            found = span.attributes or {}
            self.counts["spans"] += 1
            if "tracead.trace.anomalous" in found:
                self.counts["anomalous traces" if found["tracead.trace.anomalous"] else "normal traces"] += 1
            if "tracead.unscored" in found:
                self.counts[f"traces unscored: {found['tracead.unscored']}"] += 1
            if found.get("tracead.anomaly.detected"):
                took = ((span.end_time or 0) - (span.start_time or 0)) / 1e6
                expected = found.get("tracead.structure.expected") or found.get("tracead.response_time.expected_ms")
                print(f"{span.name}: {found['tracead.anomaly.type']}, {took:.1f} ms, expected {expected}")
        return SpanExportResult.SUCCESS


def checkout(tracer: Tracer, chance: random.Random, trouble: str) -> None:
    """Serve one request."""
    with tracer.start_as_current_span("POST /checkout", kind=SpanKind.SERVER):
        with tracer.start_as_current_span("price"):
            time.sleep(chance.uniform(0.0005, 0.001))
        if trouble != "forgotten":
            with tracer.start_as_current_span("reserve stock"):
                time.sleep(chance.uniform(0.0005, 0.001))
        with tracer.start_as_current_span("charge card", kind=SpanKind.CLIENT):
            time.sleep(0.05 if trouble == "slow" else chance.uniform(0.001, 0.002))
        with tracer.start_as_current_span("send receipt"):
            time.sleep(chance.uniform(0.0005, 0.001))


def main() -> None:
    """Run the shop for some requests."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="model_artifacts/shop")
    parser.add_argument("--record", default=None)
    parser.add_argument("--requests", type=int, default=500)
    parser.add_argument("--trouble", type=float, default=0.02)
    arguments = parser.parse_args()

    printer, chance = Printer(), random.Random(1)  # noqa: S311 (a shop, no lottery)
    provider = TracerProvider(resource=Resource.create({"service.name": "shop"}))
    processor = TraceadSpanProcessor(printer, model=arguments.model, record=arguments.record, wait_after_root="1s")
    provider.add_span_processor(processor)  # where BatchSpanProcessor(printer) would stand

    tracer = provider.get_tracer("shop")
    for _ in range(arguments.requests):
        checkout(tracer, chance, chance.choice(["slow", "forgotten"]) if chance.random() < arguments.trouble else "")
    provider.shutdown()
    print(", ".join(f"{count} {what}" for what, count in printer.counts.items()))


if __name__ == "__main__":
    main()
