"""The extension: for receivers a list of users, for exporters a name and a password; it says none of them to anybody."""

import base64
import binascii
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from otel_tracead.component import Settings
from otel_tracead.errors import Unauthenticated
from otel_tracead.extensions.basicauth.config import ClientAuthConfig, HtpasswdConfig
from otel_tracead.extensions.basicauth.htpasswd import Users, parse
from otel_tracead.extensions.basicauth.verification import Verification
from otel_tracead.extensions.watched_file import WatchedFile
from otel_tracead.log_limit import LogLimiter

_HEADER: Final = "authorization"
_SCHEME: Final = "basic "
_LONGEST: Final = 2048


class BasicAuthServer:
    """A `ServerAuthenticator`.

    Args:
        config: what the user wrote.
        settings: what the service gives.
        now: a clock in seconds, for the looks at the file.

    Attributes:
        challenge: see `ServerAuthenticator`.
    """

    challenge = 'Basic realm="otel-tracead", charset="UTF-8"'

    def __init__(self, config: HtpasswdConfig, settings: Settings, now: Callable[[], float] = time.monotonic) -> None:
        self._config = config
        self._file = None if config.file is None else WatchedFile(config.file, "htpasswd::file", now)
        self._logger = settings.logger
        self._logs = LogLimiter(settings.logger)
        self._worker = ThreadPoolExecutor(1, "basicauth")
        self._verification: Verification | None = None

    def read(self) -> Users:
        """Read who may come in, from the file and from the text, which wins.

        Raises:
            OSError: the file cannot be read.
            ValueError: a line is none, or there is no user in it.
        """
        entries = {}
        if self._file is not None:
            content = self._file.read()
            try:
                entries = parse(content)
            except ValueError as error:
                raise ValueError(f"{self._file.key}: {self._file.path}: {error}") from None
        entries |= parse(self._config.inline.get_secret_value())
        if not entries:
            raise ValueError("htpasswd::file: there is no user in it")
        return Users(entries)

    async def start(self) -> None:
        """Read the users.

        Raises:
            OSError: the file cannot be read.
            ValueError: there is no user in it, or a line is none.
        """
        self._verification = Verification(self.read(), self._worker)

    async def shutdown(self) -> None:
        """Look at no more passwords."""
        verification, self._verification = self._verification, None
        if verification is not None:
            await verification.close()
        self._worker.shutdown(wait=False, cancel_futures=True)

    def authenticate(self, headers: Mapping[str, Sequence[str]]) -> Awaitable[None] | None:
        """Look at the name and the password (see `otel_tracead.component.ServerAuthenticator`).

        Raises:
            Unauthenticated: they are missing, unreadable or wrong.
            Backpressure: too many others are looked at.
        """
        self._look()
        if self._verification is None:
            raise Unauthenticated("no basic auth provided")
        return self._verification.verify(*_credentials(headers.get(_HEADER, ())))

    def _look(self) -> None:
        """Read the file again if it has changed; one that cannot be read leaves the users as they are."""
        if self._file is None or self._verification is None or not self._file.changed():
            return
        try:
            users = self.read()
        except (OSError, ValueError) as error:
            self._logs.warning("the htpasswd file cannot be read again; the users stay as they were", error=str(error))
            return
        self._verification = Verification(users, self._worker)  # who waits for the old one gets its answer
        self._logger.info("users read again", users=len(users))


class BasicAuthClient:
    """A `ClientAuthenticator`.

    Args:
        config: what the user wrote.
        settings: what the service gives.
        now: a clock in seconds, for the looks at the files.
    """

    def __init__(self, config: ClientAuthConfig, settings: Settings, now: Callable[[], float] = time.monotonic) -> None:
        name, password = config.username_file, config.password_file
        self._logs = LogLimiter(settings.logger)
        self._logger = settings.logger
        self._files = {
            file: WatchedFile(file, key, now)
            for key, file in (("client_auth::username_file", name), ("client_auth::password_file", password))
            if file is not None
        }
        self._config = config
        self._value = ""

    async def start(self) -> None:
        """Read the files, if there are any.

        Raises:
            OSError: one cannot be read.
            ValueError: it holds nothing, or the name has a colon in it.
        """
        self._value = self.read()

    async def shutdown(self) -> None:
        """Nothing to do."""

    def credentials(self) -> Mapping[str, str]:
        """Give the header."""
        if any(file.changed() for file in self._files.values()):
            try:
                self._value = self.read()
            except (OSError, ValueError) as error:
                self._logs.warning("the credentials cannot be read again and stay as they were", error=str(error))
            else:
                self._logger.info("credentials read again")
        return {_HEADER: self._value}

    def read(self) -> str:
        """Give the value of the header.

        Raises:
            OSError: a file cannot be read.
            ValueError: it holds nothing, or the name has a colon in it.
        """
        config = self._config
        name = config.username if config.username_file is None else self._content(config.username_file)
        if ":" in name:
            raise ValueError("client_auth::username_file: the name must not contain a colon")
        password = (
            config.password.get_secret_value() if config.password_file is None else self._content(config.password_file)
        )
        return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()

    def _content(self, path: Path) -> str:
        file = self._files[path]
        content = file.read().strip()
        if not content:
            raise ValueError(f"{file.key}: {path} holds nothing")
        return content


def _credentials(values: Sequence[str]) -> tuple[bytes, bytes]:
    """Read a header as RFC 7617 writes it."""
    value = values[0] if values else ""
    if not value:
        raise Unauthenticated("no basic auth provided")
    if value[: len(_SCHEME)].lower() != _SCHEME:
        raise Unauthenticated("invalid authorization scheme prefix")
    try:
        decoded = (
            base64.b64decode(value[len(_SCHEME) :].encode("ascii"), validate=True) if len(value) <= _LONGEST else b""
        )
    except (UnicodeEncodeError, binascii.Error):
        decoded = b""
    name, colon, password = decoded.partition(b":")
    if not colon:
        raise Unauthenticated("invalid authorization format")
    return name, password
