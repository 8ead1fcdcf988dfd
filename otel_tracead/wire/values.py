"""What an attribute's value is as plain text, and as plain JSON."""

import math
from base64 import b64encode
from typing import Any

import orjson
from opentelemetry.proto.common.v1.common_pb2 import AnyValue


def text(value: AnyValue) -> str:
    """Give an attribute's value as the string that labels and Zipkin tags show; lists and maps as JSON would."""
    kind = value.WhichOneof("value")
    if kind is None:
        return ""
    if kind == "string_value":
        return str(value.string_value)
    if kind == "bool_value":
        return "true" if value.bool_value else "false"
    if kind == "int_value" or (kind == "double_value" and math.isfinite(value.double_value)):
        return repr(getattr(value, kind))
    plain = plain_value(value)
    return plain if type(plain) is str else orjson.dumps(plain, option=orjson.OPT_PASSTHROUGH_SUBCLASS).decode()


def plain_value(value: AnyValue) -> Any:
    """Give an attribute's value as plain JSON would hold it; bytes as base64, doubles that JSON lacks as strings."""
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [plain_value(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return {pair.key: plain_value(pair.value) for pair in value.kvlist_value.values}
    if kind == "bytes_value":
        return b64encode(value.bytes_value).decode()
    if kind == "double_value":
        return double(value.double_value)
    return None if kind is None else getattr(value, kind)


def double(value: float) -> float | str:
    """Give a double as OTLP/JSON has it: what is no number as a string."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
