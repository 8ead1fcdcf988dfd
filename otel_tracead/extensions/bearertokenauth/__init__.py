"""Bearer tokens: receivers ask for one of them, exporters send the first one."""

from otel_tracead.component import Factory, Kind, Settings
from otel_tracead.extensions.bearertokenauth.config import BearerTokenAuthConfig
from otel_tracead.extensions.bearertokenauth.extension import BearerTokenAuth, read_tokens
from otel_tracead.extensions.watched_file import WatchedFile, faults


def _check(config: BearerTokenAuthConfig, _settings: Settings) -> list[str]:
    if config.file is None:
        return []
    file = WatchedFile(config.file, "filename")
    return faults(lambda: read_tokens(file))


FACTORY = Factory(
    name="bearertokenauth",
    kind=Kind.EXTENSION,
    config=BearerTokenAuthConfig,
    build=lambda config, settings, _consumer: BearerTokenAuth(config, settings),
    check=_check,
)

__all__ = ["FACTORY", "BearerTokenAuth", "BearerTokenAuthConfig"]
