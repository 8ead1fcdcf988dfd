"""The extension: knows the tokens, compares them in constant time, and says none of them to anybody."""

import time
from collections.abc import Callable, Mapping, Sequence
from hmac import compare_digest

from otel_tracead.component import Settings
from otel_tracead.errors import Unauthenticated
from otel_tracead.extensions.bearertokenauth.config import BearerTokenAuthConfig
from otel_tracead.extensions.watched_file import WatchedFile
from otel_tracead.log_limit import LogLimiter


def read_tokens(file: WatchedFile) -> tuple[str, ...]:
    """Give the first word of every line of a file.

    Raises:
        OSError: it cannot be read.
        ValueError: there is no token in it, it is no UTF-8, or it is too large.
    """
    tokens = tuple(line.split()[0] for line in file.read().splitlines() if line.strip())
    if not tokens:
        raise ValueError(f"{file.key}: {file.path} holds no token")
    return tokens


class BearerTokenAuth:
    """A `ServerAuthenticator` and a `ClientAuthenticator`.

    Args:
        config: what the user wrote.
        settings: what the service gives.
        now: a clock in seconds, for the looks at the file.

    Attributes:
        challenge: see `ServerAuthenticator`.
    """

    def __init__(
        self, config: BearerTokenAuthConfig, settings: Settings, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._header = config.header.lower()
        self._scheme = config.scheme
        self._file = None if config.file is None else WatchedFile(config.file, "filename", now)
        self.challenge = self._scheme if self._header == "authorization" else ""
        self._logger = settings.logger
        self._logs = LogLimiter(settings.logger)
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
            self._values = self._with_scheme(read_tokens(self._file))

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
        if self._file is None or not self._file.changed():
            return
        try:
            tokens = read_tokens(self._file)
        except (OSError, ValueError) as error:
            self._logs.warning("the token file cannot be read again; the tokens stay as they were", error=str(error))
            return
        self._values = self._with_scheme(tokens)
        self._logger.info("tokens read again", filename=str(self._file.path), tokens=len(self._values))

    def _with_scheme(self, tokens: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(f"{self._scheme} {token}" if self._scheme else token for token in tokens)


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogateescape")
