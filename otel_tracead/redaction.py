"""What must not be printed: the fields that hold it print `[REDACTED]`, and texts are given without it."""

import base64
from collections.abc import Collection, Iterable
from hmac import compare_digest
from typing import Annotated, Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, PlainSerializer, SerializationInfo
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import PydanticCustomError, core_schema

REDACTED: Final = "[REDACTED]"

_SHORTEST_SECRET: Final = 6


class Secret:
    """A string that prints as `[REDACTED]` everywhere; `get_secret_value()` gives it to who needs it.

    A dump with `context={"secrets": True}` (`print-config --mode unredacted`) writes it out.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str = "") -> None:
        self._value = value

    def get_secret_value(self) -> str:
        """Give the text itself; never log it."""
        return self._value

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash(self._value)

    def __str__(self) -> str:
        return REDACTED

    __repr__ = __str__

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        """Read strings, print `[REDACTED]`."""
        return core_schema.no_info_plain_validator_function(
            cls._validated,
            serialization=core_schema.plain_serializer_function_ser_schema(cls._dumped, info_arg=True),
        )

    @classmethod
    def _validated(cls, value: object) -> "Secret":
        if isinstance(value, cls):
            return value
        if not isinstance(value, str):
            raise PydanticCustomError("string_type", "Input should be a valid string")
        return cls(value)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, _schema: core_schema.CoreSchema, _handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Say that it is a string."""
        return {"type": "string"}

    @staticmethod
    def _dumped(secret: "Secret", info: core_schema.SerializationInfo) -> str:
        return secret._value if (info.context or {}).get("secrets") else REDACTED  # noqa: SLF001 (its own class)


def without_secrets(url: str) -> str:
    """Give a URL, or what should have been one, without what may be secret in it: all before its @, and its query."""
    before, separator, rest = url.rpartition("://")
    place, query, _ = rest.partition("?")
    guarded = f"{REDACTED}@{place.rpartition('@')[2]}" if "@" in place else place
    return f"{before}{separator}{guarded}{f'?{REDACTED}' if query else ''}"


def without(text: str, secrets: Iterable[str]) -> str:
    """Give *text* without *secrets* in it, such as a backend's answer that repeats what it was sent."""
    for secret in secrets:
        if len(secret) >= _SHORTEST_SECRET:  # what is shorter stands everywhere
            text = text.replace(secret, REDACTED)
    return text


def secrets_of(headers: Collection[str], *urls: str) -> tuple[str, ...]:
    """Give what `without` is to leave out of what a backend says: the values of headers, and what is private in URLs."""
    found = list(headers)
    found += [value.rpartition(" ")[2] for value in headers]  # also without `Bearer`
    for url in urls:
        parts = urlsplit(url)
        name, password = unquote(parts.username or ""), unquote(parts.password or "")
        as_header = base64.b64encode(f"{name}:{password}".encode()).decode() if name or password else ""
        found += [part for part in (parts.password, password, as_header, parts.query) if part]
        found += [value for _, value in parse_qsl(parts.query)]
    return tuple(found)


def _dumped_url(url: str, info: SerializationInfo) -> str:
    return url if (info.context or {}).get("secrets") else without_secrets(url)


PrivateUrl = Annotated[str, PlainSerializer(_dumped_url, return_type=str)]
"""A URL that prints without user, password and query; like a `Secret` it is written out where that is asked for."""
