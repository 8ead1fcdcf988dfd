"""In process: scores an application's own traces before the SDK's exporter gets them; no collector needed.

    from otel_tracead.sdk import TraceadSpanProcessor

    provider.add_span_processor(TraceadSpanProcessor(OTLPSpanExporter(), model="my-model"))

stands where `BatchSpanProcessor(OTLPSpanExporter())` stood. Where only the exporter can be chosen, `TraceadSpanExporter`
wraps one. Options are the keys of the processor `tracead`, with the same names, values and defaults.
"""

from otel_tracead.sdk.faces import TraceadSpanExporter, TraceadSpanProcessor

__all__ = ["TraceadSpanExporter", "TraceadSpanProcessor"]
