"""What `run` runs without `--config`: OTLP and Zipkin in, the bundled model, annotated traces to a file."""

from typing import Final

YAML: Final = """\
receivers:
  otlp:
    protocols:
      grpc: {endpoint: localhost:4317}
      http: {endpoint: localhost:4318}
  zipkin: {endpoint: localhost:9411}
processors:
  tracead:
    model: model_artifacts/shop
exporters:
  file:
    path: traces.jsonl
    rotation: {max_megabytes: 100, max_backups: 5}
  debug: {verbosity: basic}
service:
  pipelines:
    traces:
      receivers: [otlp, zipkin]
      processors: [tracead]
      exporters: [file, debug]
"""
