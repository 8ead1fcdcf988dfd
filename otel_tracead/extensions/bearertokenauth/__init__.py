"""Bearer tokens: receivers ask for one of them, exporters send the first one."""

from otel_tracead.component import Factory, Kind, Settings
from otel_tracead.extensions.bearertokenauth.config import BearerTokenAuthConfig
from otel_tracead.extensions.bearertokenauth.extension import BearerTokenAuth, read_tokens
from otel_tracead.extensions.watched_file import WatchedFile


def _check(config: BearerTokenAuthConfig, _settings: Settings) -> list[str]:
    if config.file is None:
        return []
    try:
        read_tokens(WatchedFile(config.file, "filename"))
    except OSError as error:
        return [str(error.strerror)]
    except ValueError as error:
        return [str(error)]
    return []


FACTORY = Factory(
    name="bearertokenauth",
    kind=Kind.EXTENSION,
    config=BearerTokenAuthConfig,
    build=lambda config, settings, _consumer: BearerTokenAuth(config, settings),
    check=_check,
)

__all__ = ["FACTORY", "BearerTokenAuth", "BearerTokenAuthConfig"]
