"""What a span is called: the label template, filled from a span's head and its resource.

The paper's label is status code, URL pattern and host IP as one string (its section on data). Host IPs churn in today's
clusters, so the default names the service. Patterns turn id-like parts of a name into `{id}`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from otel_tracead.wire.batch import Envelope

DEFAULT_TEMPLATE: Final = "{service} {kind} {name} {status}"
PAPER_TEMPLATE: Final = "{status} {name} {resource.host.ip|service}"
"""The paper's; where no host says its address, as in most clusters, the service stands for it. Not `host.name`: in a
container that is a new name at every start, and no label would be seen twice."""
LONGEST: Final = 500
"""Characters of a label; what is longer is cut, so that names from outside do not fill the memory."""
CALLEE: Final = " → "
"""Between a client span's label and the service that it was seen to call."""

_KINDS: Final = ("", "", "server", "client", "producer", "consumer")
_STATUS = re.compile(r"[1-5]\d\d|grpc:\S+|ERROR")  # what `status_text` gives
_FIELD = re.compile(r"\{([a-zA-Z_][\w.\-/]*(?:\|[a-zA-Z_][\w.\-/]*)*)\}")
_SPAN_FIELDS: Final = ("service", "kind", "name", "status")
_STATUS_KEYS: Final = (
    "http.response.status_code",
    "http.status_code",
    "rpc.grpc.status_code",
    "rpc.response.status_code",
)

DEFAULT_PATTERNS: Final[tuple[str, ...]] = (
    r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}",  # UUID
    r"(?<![0-9A-Za-z])(?=[0-9a-fA-F]*\d)[0-9a-fA-F]{8,}(?![0-9A-Za-z])",  # hexadecimal id
    r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?(?![\w.])",  # IP address
    r"(?<=[/=:_\-#])\d+(?![0-9A-Za-z.])",  # a number as a path part or after a separator
)
"""Regular expressions whose matches in a span's name become `{id}`."""


@dataclass(frozen=True, slots=True)
class LabelTemplate:
    """How a label is made.

    Attributes:
        template: text with `{service}`, `{kind}`, `{name}`, `{status}`, `{attribute.KEY}` and `{resource.KEY}`, or several
            of them in one, `{A|B}`: the first that a span has. What it lacks is left out, and spaces are joined.
        patterns: regular expressions whose matches in the name become `{id}`.
        callee: whether a span with a child in another process carries that child's service (`client → service`).
    """

    template: str = DEFAULT_TEMPLATE
    patterns: tuple[str, ...] = DEFAULT_PATTERNS
    callee: bool = True
    _compiled: tuple[re.Pattern[str], ...] = field(init=False, repr=False, compare=False)
    _fields: tuple[str, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Compile the patterns.

        Raises:
            ValueError: a field or a pattern that cannot be used; says which.
        """
        fields = tuple(name for choice in _FIELD.findall(self.template) for name in choice.split("|"))
        for name in fields:
            if name not in _SPAN_FIELDS and not name.startswith(("attribute.", "resource.")):
                raise ValueError(
                    f"labels::template: unknown field {{{name}}} (known: {', '.join(_SPAN_FIELDS)}, attribute.KEY, resource.KEY)"
                )
        if not fields:
            raise ValueError(f"labels::template: {self.template!r} names no field, so every span would have one label")
        compiled = []
        for pattern in self.patterns:
            try:
                compiled.append(re.compile(pattern))
            except re.error as error:
                raise ValueError(f"labels::patterns: {pattern!r} is not a regular expression: {error}") from error
        object.__setattr__(self, "_compiled", tuple(compiled))
        object.__setattr__(self, "_fields", fields)

    @property
    def attribute_keys(self) -> frozenset[str]:
        """The span attributes that the label depends on."""
        keys = {name.removeprefix("attribute.") for name in self._fields if name.startswith("attribute.")}
        if "status" in self._fields:
            keys.update(_STATUS_KEYS)
        return frozenset(keys)

    def label(self, envelope: Envelope, name: str, kind: int, status: int, attributes: Mapping[str, str]) -> str:
        """Give the label of a span.

        Args:
            envelope: its resource and scope.
            name: its name.
            kind: its kind, an enum value of trace.proto.
            status: its status code, an enum value of trace.proto (2 = ERROR).
            attributes: those of `attribute_keys` that it has, as text.
        """

        def fill(match: re.Match[str]) -> str:
            return next((text for text in map(value, match.group(1).split("|")) if text), "")

        def value(wanted: str) -> str:
            if wanted == "service":
                return envelope.service
            if wanted == "name":
                return self.pattern(name)
            if wanted == "kind":
                return _KINDS[kind] if 0 <= kind < len(_KINDS) else ""
            if wanted == "status":
                return status_text(status, attributes)
            if wanted.startswith("resource."):
                return envelope.attributes.get(wanted.removeprefix("resource."), "")
            return attributes.get(wanted.removeprefix("attribute."), "")

        return " ".join(_FIELD.sub(fill, self.template).split())[:LONGEST]

    def pattern(self, name: str) -> str:
        """Turn the id-like parts of *name* into `{id}`."""
        for expression in self._compiled:
            name = expression.sub("{id}", name)
        return name


def status_text(status: int, attributes: Mapping[str, str]) -> str:
    """Give the status as a label shows it: the HTTP code, a gRPC code but OK, else ERROR, or nothing."""
    for key in _STATUS_KEYS[:2]:
        if attributes.get(key):
            return attributes[key]
    for key in _STATUS_KEYS[2:]:
        code = attributes.get(key)
        if code and code not in ("0", "OK"):
            return f"grpc:{code}"
    return "ERROR" if status == 2 else ""


def with_callee(label: str, service: str) -> str:
    """Name the service that a client span called; nothing is added where it is not known."""
    return f"{label}{CALLEE}{service}" if service else label


def is_failure(label: str) -> bool:
    """Say whether a label's status tells of a failure: an HTTP error, a gRPC code but OK, or ERROR."""
    words = label.split(CALLEE, 1)[0].split(" ")
    return any(_STATUS.fullmatch(word) and not word.startswith(("1", "2", "3")) for word in words)


def stem(label: str) -> str:
    """Give the label without the callee and without a status: what stays the same when a call fails."""
    words = label.split(CALLEE, 1)[0].split(" ")
    return " ".join(word for word in words if not _STATUS.fullmatch(word))
