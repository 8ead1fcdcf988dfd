"""The types of field that the configurations of all components share, each with its reading, check and printing."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import (
    BeforeValidator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PlainSerializer,
    WithJsonSchema,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import PydanticCustomError, core_schema

from otel_tracead.duration import format_duration, parse_duration
from otel_tracead.redaction import Secret, without_secrets

_HOST: Final = re.compile(r"[A-Za-z0-9_.\-]{0,253}", re.ASCII)
_IPV6: Final = re.compile(r"\[([0-9A-Fa-f:.]+(?:%[A-Za-z0-9_.\-]+)?)\]", re.ASCII)


def _seconds(value: object) -> float:
    if isinstance(value, str):
        try:
            seconds = parse_duration(value.strip())
        except ValueError as error:
            raise PydanticCustomError("duration", "{reason}", {"reason": str(error)}) from None
    elif isinstance(value, (int, float)) and not isinstance(value, bool) and value == 0:
        seconds = 0.0
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        raise PydanticCustomError(
            "duration", 'time: missing unit in duration "{value}" (write 200ms, 5s, 1m30s)', {"value": value}
        )
    else:
        raise PydanticCustomError("duration", "expected a duration such as 200ms, 5s or 1m30s")
    if seconds < 0:
        raise PydanticCustomError("duration", "must not be negative")
    return seconds


def _above_zero(value: object) -> float:
    seconds = _seconds(value)
    if seconds == 0:
        raise PydanticCustomError("duration", "must be greater than zero")
    return seconds


_DURATION_SCHEMA: Final = WithJsonSchema(
    {"anyOf": [{"type": "string", "pattern": r"^\s*[-+]?(0|([0-9.]+(ns|us|µs|μs|ms|s|m|h))+)\s*$"}, {"const": 0}]}
)

Duration = Annotated[
    float, BeforeValidator(_seconds), PlainSerializer(format_duration, return_type=str), _DURATION_SCHEMA
]
"""A Go duration (`200ms`, `1m30s`, `0`) in the YAML; seconds at run time; never negative."""

PositiveDuration = Annotated[
    float, BeforeValidator(_above_zero), PlainSerializer(format_duration, return_type=str), _DURATION_SCHEMA
]
"""A `Duration` that must not be zero."""

Size = Annotated[int, Field(ge=0)]
"""A number of bytes, MiB, spans or requests, as its key says; what 0 means says the component."""

PositiveSize = Annotated[int, Field(gt=0)]
"""A `Size` that must not be zero."""

FilePath = Annotated[Path, Field(strict=False)]
"""A path as the user wrote it; `Settings.base` is where relative ones start."""


def _split(value: object) -> object:
    return [part for part in value.split(",") if part] if isinstance(value, str) else value


Strings = Annotated[
    tuple[str, ...],
    Field(strict=False),
    BeforeValidator(_split),
    WithJsonSchema({"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "string"}]}),
]
"""A list of strings in the YAML, or one string with commas, as the Collector takes it as well; a tuple at run time."""


HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~\-]+$")]
"""The name of an HTTP header."""


@dataclass(frozen=True, slots=True)
class ExtensionReference:
    """Marks a string field that names an extension; the service looks whether it is started.

    Attributes:
        role: what the extension is for, as messages say it.
    """

    role: str


Authenticator = Annotated[str, ExtensionReference("authenticator")]
"""The id of an extension that authenticates."""

StorageId = Annotated[str | None, ExtensionReference("storage")]
"""The id of an extension that keeps records on disk; None for none."""


@dataclass(frozen=True, slots=True)
class WithoutEffect:
    """Marks a key of the Collector that is taken and changes nothing here; the service warns of it.

    Attributes:
        reason: why, as half a sentence.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class NotHere:
    """Marks a key of the Collector that is not here: whatever is written but nothing (null, false, [], {}) is an error.

    Attributes:
        reason: why, and what to do instead, as half a sentence.
    """

    reason: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        """Read nothing but nothing."""
        return core_schema.no_info_after_validator_function(self._nothing, handler(source))

    def __get_pydantic_json_schema__(
        self, _schema: core_schema.CoreSchema, _handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Say that nothing may stand here."""
        return {"const": None, "description": f"Not in otel-tracead: {self.reason}."}

    def _nothing(self, value: object) -> None:
        if value:
            raise PydanticCustomError("not_here", "not in otel-tracead: {reason}", {"reason": self.reason})


class AnyCase:
    """Marks a choice of words whose case does not count."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        """Read the word in lower case."""
        return core_schema.no_info_before_validator_function(
            lambda value: value.lower() if isinstance(value, str) else value, handler(source)
        )

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Give the usual three ways to write each word."""
        words = handler(schema)
        return {**words, "enum": [way for word in words["enum"] for way in (word, word.capitalize(), word.upper())]}


def _as_map(value: object) -> object:
    """Read a list of names and values, as the Collector takes it as well, as a map."""
    if not isinstance(value, list):
        return value
    pairs: dict[object, object] = {}
    for pair in value:
        if not isinstance(pair, dict) or pair.keys() != {"name", "value"}:
            raise PydanticCustomError("headers", "must be a map, or a list of maps with name and value")
        if pair["name"] in pairs:
            raise PydanticCustomError("headers", 'duplicate name "{name}"', {"name": str(pair["name"])})
        pairs[pair["name"]] = pair["value"]
    return pairs


class _MapOrList:
    """Marks a map of texts that may also be written as a list of `{name: ..., value: ...}`."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        """Read the list as a map."""
        return core_schema.no_info_before_validator_function(_as_map, handler(source))

    def __get_pydantic_json_schema__(
        self, _schema: core_schema.CoreSchema, _handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Give both ways."""
        pair = {
            "type": "object",
            "properties": {"name": {"type": "string"}, "value": {"type": "string"}},
            "required": ["name", "value"],
            "additionalProperties": False,
        }
        as_map = {"type": "object", "additionalProperties": {"type": "string"}}
        return {"anyOf": [as_map, {"type": "array", "items": pair}]}


MapOrList: Final = _MapOrList()

Headers = Annotated[dict[HeaderName, Secret], MapOrList]
"""HTTP headers: a map, or a list of `{name: ..., value: ...}`."""

Metadata = Annotated[dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9_.\-]+$")], Secret], MapOrList]
"""Metadata of gRPC, likewise."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a server listens or a client connects: `host:port`.

    Attributes:
        host: a name or an address; an IPv6 address without its brackets; empty for every interface (`:4317`).
        port: 0 lets the kernel choose.
    """

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> "Endpoint":
        """Read `localhost:4317`, `[::1]:4317` or `:4317`.

        Raises:
            ValueError: that is no endpoint, with what to write instead.
        """
        host, colon, port = text.strip().rpartition(":")
        bracketed = _IPV6.fullmatch(host)
        if "://" in text:
            raise ValueError(f'"{without_secrets(text)}" is a URL; an endpoint is host:port, such as localhost:4317')
        if not colon or (bracketed is None and not _HOST.fullmatch(host)):
            raise ValueError(f'"{text}" is no endpoint: write host:port, such as localhost:4317 or [::1]:4317')
        if not (port.isascii() and port.isdecimal() and len(port) <= 5 and int(port) <= 65535):
            raise ValueError(f'"{text}" has no valid port: it must be a number from 0 to 65535')
        return cls(bracketed[1] if bracketed else host, int(port))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        """Read strings (and endpoints as they are), print strings."""
        return core_schema.no_info_plain_validator_function(
            cls._validated, serialization=core_schema.plain_serializer_function_ser_schema(str)
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, _schema: core_schema.CoreSchema, _handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Say that it is a string that ends in a port."""
        return {"type": "string", "pattern": ":[0-9]{1,5}$"}

    @classmethod
    def _validated(cls, value: object) -> "Endpoint":
        if isinstance(value, cls):
            return value
        if not isinstance(value, str):
            raise PydanticCustomError("string_type", "expected host:port, such as localhost:4317")
        try:
            return cls.parse(value)
        except ValueError as error:
            raise PydanticCustomError("endpoint", "{reason}", {"reason": str(error)}) from None


__all__: Sequence[str] = (
    "AnyCase",
    "Authenticator",
    "Duration",
    "Endpoint",
    "ExtensionReference",
    "FilePath",
    "HeaderName",
    "Headers",
    "MapOrList",
    "Metadata",
    "NotHere",
    "PositiveDuration",
    "PositiveSize",
    "Size",
    "StorageId",
    "Strings",
    "WithoutEffect",
)
