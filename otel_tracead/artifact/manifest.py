"""The manifest of a model artifact: what it is, how it was made, and what must lie beside it."""

import hashlib
from typing import Annotated, Any, Final, Literal, Self

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from otel_tracead.errors import ArtifactError
from otel_tracead.traces.labels import LabelTemplate
from otel_tracead.traces.sequences import Order

SCHEMA_VERSION: Final = 3


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("holds characters that cannot be printed")
    return text


_Name = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_printable)]
"""What metrics, attributes and pages show."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class Labels(_Part):
    """How spans are named, and their events ordered; see `LabelTemplate` and `Order`."""

    template: str
    patterns: tuple[str, ...]
    callee: bool
    order: str

    @classmethod
    def of(cls, template: LabelTemplate, order: Order) -> Self:
        """Write down what a model was made with."""
        return cls(template=template.template, patterns=template.patterns, callee=template.callee, order=order.value)

    def parsed(self) -> tuple[LabelTemplate, Order]:
        """Give what `Encoder` takes.

        Raises:
            ValueError: a template or an order that cannot be used; says which.
        """
        return LabelTemplate(self.template, self.patterns, self.callee), Order(self.order)


class Network(_Part):
    """What `model.onnx` expects and gives."""

    architecture: dict[str, int | str]
    inputs: dict[str, list[str | int]]
    outputs: list[str]
    state: int = Field(ge=0, le=100_000)


class ReportCard(_Part):
    """What the detector's own check found, in numbers and in words."""

    passed: bool
    reasons: tuple[str, ...]
    figures: dict[str, float]
    words: tuple[str, ...]


class Manifest(_Part):
    """`manifest.json` (contract, section 4).

    What it does not say is no part of it: a field that came later has its default, and the digest stays what it was.
    """

    schema_version: int
    name: _Name
    version: _Name
    created: str
    detector: Literal["calibrated", "paper"] = "calibrated"
    labels: Labels
    network: Network
    thresholds: dict[str, float]
    training: dict[str, Any]
    report_card: ReportCard
    files: dict[str, str]
    digest: str = ""

    def sealed(self) -> "Manifest":
        """Give the same manifest with the digest of itself."""
        return self.model_copy(update={"digest": self._own_digest()})

    def encode(self) -> bytes:
        """Encode as JSON for people, the same bytes for the same content."""
        return orjson.dumps(
            self.model_dump(mode="json", exclude_unset=True),
            option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE,
        )

    def _own_digest(self) -> str:
        content = self.model_dump(mode="json", exclude={"digest"}, exclude_unset=True)
        return hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()


def decode(content: bytes) -> Manifest:
    """Decode and verify `manifest.json`.

    Raises:
        ArtifactError: it is no manifest of this schema, or its digest is not that of its content.
    """
    try:
        raw = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise ArtifactError(f"manifest.json: not JSON: {error}") from error
    version = raw.get("schema_version") if isinstance(raw, dict) else None
    if version != SCHEMA_VERSION:
        raise ArtifactError(
            f"manifest.json: schema version {version!r}, but this otel-tracead reads {SCHEMA_VERSION}; train the model again"
        )
    try:
        manifest = Manifest.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        raise ArtifactError(f"manifest.json: {'::'.join(str(p) for p in first['loc'])}: {first['msg']}") from error
    try:
        digest = manifest._own_digest()  # noqa: SLF001 (its own class)
    except (TypeError, ValueError, RecursionError) as error:  # JSON may be read that nests deeper than any is written
        raise ArtifactError("manifest.json: nested too deeply") from error
    if manifest.digest != digest:
        raise ArtifactError("manifest.json: its digest is not that of its content; it was changed after training")
    return manifest
