"""A program that forks again and again while threads make spans: `python -m tests.faults.forking MODEL FILE FORKS`.

FILE gets a line a span that was exported, by whichever process. The last line of the output says how many there should be.
"""

import json
import os
import sys
import threading
import time
from collections.abc import Sequence

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from otel_tracead.sdk import TraceadSpanProcessor


class Lines(SpanExporter):
    """Appends what it is given; has no lock that a fork could take along."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        lines = (f"{os.getpid()} {span.context.trace_id:x}{span.context.span_id:x}\n" for span in spans)
        os.write(self._file, "".join(lines).encode())
        return SpanExportResult.SUCCESS


def traces(provider: TracerProvider, count: int) -> int:
    tracer = provider.get_tracer("forking")
    for _ in range(count):
        with tracer.start_as_current_span("entry"), tracer.start_as_current_span("work"):
            pass
    return 2 * count


def main() -> None:
    model, path, forks = sys.argv[1], sys.argv[2], int(sys.argv[3])
    processor = TraceadSpanProcessor(Lines(path), model=model, wait_duration="50ms", unknown_labels=1.0)
    provider = TracerProvider(resource=Resource.create({"service.name": "shop"}))
    provider.add_span_processor(processor)
    made, over = [0, 0], threading.Event()

    def work(number: int) -> None:
        while not over.is_set():
            made[number] += traces(provider, 5)
            time.sleep(0.002)

    threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(2)]
    for thread in threads:
        thread.start()
    children = []
    for _ in range(forks):
        time.sleep(0.05)
        child = os.fork()
        if child == 0:
            here = traces(provider, 20)
            done = here == 40 and processor.force_flush(20_000)
            processor.shutdown()
            os._exit(0 if done else 1)
        children.append(child)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    over.set()
    for thread in threads:
        thread.join()
    processor.shutdown()
    sys.stdout.write(json.dumps({"parent": sum(made), "children": codes, "pid": os.getpid()}) + "\n")


if __name__ == "__main__":
    main()
