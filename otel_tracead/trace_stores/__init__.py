"""Running backends as sources of traces: what `jaeger+http://…` and `zipkin+http://…` mean."""
