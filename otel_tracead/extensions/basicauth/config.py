"""What a user may write for `basicauth`."""

from typing import Annotated, Any, ClassVar, Self

from pydantic import field_validator, model_validator

from otel_tracead.component import ComponentConfig
from otel_tracead.config_types import FilePath, NotHere
from otel_tracead.extensions.basicauth.htpasswd import parse
from otel_tracead.redaction import Secret


class HtpasswdConfig(ComponentConfig):
    """Who may send. `file` or `inline` must be given; where both name a user, `inline` counts.

    Attributes:
        file: a file as Apache's `htpasswd` writes it. It is read again when it changes; a relative path starts from the
            working directory.
        inline: the same as text.
    """

    null_is_off: ClassVar[bool] = True

    file: FilePath | None = None
    inline: Secret = Secret("")

    @field_validator("inline")
    @classmethod
    def _readable(cls, inline: Secret) -> Secret:
        parse(inline.get_secret_value())
        return inline

    @model_validator(mode="after")
    def _some_source(self) -> Self:
        if self.file is None and not parse(self.inline.get_secret_value()):
            raise ValueError("no credential source provided: write file or inline, with a user in it")
        return self


class ClientAuthConfig(ComponentConfig):
    """Who we are.

    Attributes:
        username: the name.
        username_file: a file that holds the name, and wins over `username`. It is read again when it changes; a relative
            path starts from the working directory.
        password: its password.
        password_file: likewise.
    """

    null_is_off: ClassVar[bool] = True

    username: str = ""
    username_file: FilePath | None = None
    password: Secret = Secret("")
    password_file: FilePath | None = None
    aws_secrets_manager: Annotated[
        Any, NotHere("let what runs the process write the secret to a file, and name that in password_file")
    ] = None

    @field_validator("username")
    @classmethod
    def _without_colon(cls, username: str) -> str:
        if ":" in username:
            raise ValueError("must not contain a colon, which ends the name in what is sent")
        return username

    @model_validator(mode="after")
    def _some_name(self) -> Self:
        if not self.username and self.username_file is None:
            raise ValueError("no credential source provided: write username or username_file")
        return self


class BasicAuthConfig(ComponentConfig):
    """Keys and defaults are those of the Collector's extension. Either `htpasswd` or `client_auth` must be given.

    Attributes:
        htpasswd: for receivers: who may send.
        client_auth: for exporters: who we are.
    """

    htpasswd: HtpasswdConfig | None = None
    client_auth: ClientAuthConfig | None = None

    @model_validator(mode="after")
    def _one_side(self) -> Self:
        if self.htpasswd is not None and self.client_auth is not None:
            raise ValueError("only one of `htpasswd` or `client_auth` can be specified")
        if self.htpasswd is None and self.client_auth is None:
            raise ValueError("no credential source provided: write htpasswd or client_auth")
        return self
