"""A program that forks with traces open: `python -m tests.sdk.forked MODEL` prints what parent and child exported.

A process of its own, since a fork takes along whatever lock another thread holds, of whomever.
"""

import json
import os
import sys

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_tracead.sdk import TraceadSpanProcessor
from tests.sdk.replay import Application
from tests.tiny_model import shop_traces


def told(exporter: InMemorySpanExporter, played: int) -> dict[str, int]:
    found = exporter.get_finished_spans()
    scored = sum("tracead.trace.anomalous" in span.attributes for span in found)
    return {"played": played, "found": len(found), "scored": scored}


def main() -> None:
    shop = shop_traces(seed=5, duration_s=8)
    Resource.create()  # as every application does: it loads what the SDK uses in a forked child
    exporter = InMemorySpanExporter()
    processor = TraceadSpanProcessor(exporter, model=sys.argv[1])
    application = Application(processor)
    sent = application.play(shop[:10])
    child = os.fork()
    if child == 0:
        exporter.clear()
        played = application.play(shop[10:14])
        flushed = processor.force_flush(30_000)
        sys.stdout.write(json.dumps({"child": told(exporter, played), "flushed": flushed}) + "\n")
        sys.stdout.flush()
        processor.shutdown()
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    processor.shutdown()
    sys.stdout.write(json.dumps({"parent": told(exporter, sent), "code": code}) + "\n")


if __name__ == "__main__":
    main()
