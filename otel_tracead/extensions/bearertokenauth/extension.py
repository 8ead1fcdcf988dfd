"""The extension: knows the tokens, compares them in constant time, and says none of them to anybody."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from hmac import compare_digest
from pathlib import Path
from typing import Final

from otel_tracead.component import Settings
from otel_tracead.errors import Unauthenticated
from otel_tracead.extensions.bearertokenauth.config import BearerTokenAuthConfig
from otel_tracead.log_limit import LogLimiter

_LARGEST_FILE: Final = 1 << 20
_LOOK_EVERY: Final = 1.0
"""Seconds between two looks at the file, however many requests come."""

Stamp = tuple[int, int, int]


def read_tokens(path: Path) -> tuple[tuple[str, ...], Stamp]:
    """Give the first word of every line of a file, and the stamp of what was read.

    Raises:
        OSError: it cannot be read.
        ValueError: there is no token in it, it is no UTF-8, or it is too large.
    """
    try:
        with path.open("rb") as file:
            stamp = _stamp(os.fstat(file.fileno()))
            content = file.read(_LARGEST_FILE + 1)
    except OSError as error:
        raise OSError(error.errno, f"filename: {path} cannot be read: {error.strerror}") from error
    if len(content) > _LARGEST_FILE:
        raise ValueError(f"filename: {path} is larger than {_LARGEST_FILE} bytes")
    try:
        lines = content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise ValueError(f"filename: {path} is not UTF-8") from None  # the cause would quote the content
    tokens = tuple(line.split()[0] for line in lines if line.strip())
    if not tokens:
        raise ValueError(f"filename: {path} holds no token")
    return tokens, stamp


class BearerTokenAuth:
    """A `ServerAuthenticator` and a `ClientAuthenticator`.

    Args:
        config: what the user wrote.
        settings: what the service gives.
        now: a clock in seconds, for the looks at the file.
    """

    def __init__(
        self, config: BearerTokenAuthConfig, settings: Settings, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._header = config.header.lower()
        self._scheme = config.scheme
        self._file = config.file
        self._logger = settings.logger
        self._logs = LogLimiter(settings.logger)
        self._now = now
        self._look_at = 0.0
        self._stamp: Stamp | None = None
        self._values = self._with_scheme(
            tuple(secret.get_secret_value() for secret in config.tokens or (config.token,))
        )

    async def start(self) -> None:
        """Read the file, if there is one.

        Raises:
            OSError: it cannot be read.
            ValueError: there is no token in it.
        """
        if self._file is not None:
            tokens, self._stamp = read_tokens(self._file)
            self._values = self._with_scheme(tokens)
            self._look_at = self._now() + _LOOK_EVERY

    async def shutdown(self) -> None:
        """Nothing to do."""

    def authenticate(self, headers: Mapping[str, Sequence[str]]) -> None:
        """Compare the header with every token.

        Raises:
            Unauthenticated: it is missing or none of them.
        """
        self._look()
        given = headers.get(self._header)
        if not given:
            raise Unauthenticated(f"missing or empty authorization header: {self._header}")
        candidate = _bytes(given[0])
        matches = [compare_digest(candidate, _bytes(value)) for value in self._values]  # all of them, always
        if not any(matches):
            raise Unauthenticated("scheme or token does not match")

    def credentials(self) -> Mapping[str, str]:
        """Give the header with the first token."""
        self._look()
        return {self._header: self._values[0]}

    def _look(self) -> None:
        """Read the file again if it has changed; a file that cannot be read leaves the tokens as they are."""
        if self._file is None or self._now() < self._look_at:
            return
        self._look_at = self._now() + _LOOK_EVERY
        try:
            if _stamp(self._file.stat()) == self._stamp:  # follows links: Kubernetes swaps them when a secret changes
                return
            tokens, self._stamp = read_tokens(self._file)
        except (OSError, ValueError) as error:
            self._logs.warning("the token file cannot be read again; the tokens stay as they were", error=str(error))
            return
        self._values = self._with_scheme(tokens)
        self._logger.info("tokens read again", filename=str(self._file), tokens=len(self._values))

    def _with_scheme(self, tokens: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(f"{self._scheme} {token}" if self._scheme else token for token in tokens)


def _stamp(status: os.stat_result) -> Stamp:
    return status.st_ino, status.st_mtime_ns, status.st_size


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogateescape")
