"""What a user may write for `bearertokenauth`."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from otel_tracead.component import ComponentConfig
from otel_tracead.config_types import FilePath, HeaderName
from otel_tracead.redaction import Secret


class BearerTokenAuthConfig(ComponentConfig):
    """Keys and defaults are those of the Collector's extension. `token`, `tokens` or `filename` must be given.

    Attributes:
        header: the header (of gRPC: the metadata) that carries the token.
        scheme: the word before the token; empty for none.
        token: the token; `filename` wins over it.
        tokens: several: receivers take any of them, exporters send the first one. They win over `filename`.
        filename: a file with one token a line, of which the first word counts. It is read again when it changes; a
            relative path starts from the working directory.
    """

    header: HeaderName = "Authorization"
    scheme: str = "Bearer"
    token: Secret = Secret("")
    tokens: Annotated[tuple[Secret, ...], Field(strict=False)] = ()
    filename: FilePath | None = None

    @model_validator(mode="after")
    def _some_token(self) -> Self:
        if self.token and self.tokens:
            raise ValueError("either tokens or token should be provided, not both")
        if not self.token and not self.tokens and self.filename is None:
            raise ValueError("no bearer token provided")
        return self

    @property
    def file(self) -> Path | None:
        """The file that tokens are read from; None where it is not asked."""
        return None if self.tokens else self.filename
