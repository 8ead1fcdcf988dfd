"""Floor 1: spans become traces, traces become label and response-time sequences; knows no ONNX, no sockets."""
