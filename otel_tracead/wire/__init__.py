"""Floor 0: bytes of OTLP and Zipkin to and from `SpanBatch`; knows no traces, no models, no sockets."""
