"""Names and passwords: receivers ask for one pair of a list, exporters send theirs."""

from otel_tracead.component import Factory, Kind, Settings
from otel_tracead.extensions.basicauth.config import BasicAuthConfig
from otel_tracead.extensions.basicauth.extension import BasicAuthClient, BasicAuthServer
from otel_tracead.extensions.watched_file import faults


def _build(config: BasicAuthConfig, settings: Settings) -> BasicAuthServer | BasicAuthClient:
    if config.htpasswd is not None:
        return BasicAuthServer(config.htpasswd, settings)
    if config.client_auth is not None:
        return BasicAuthClient(config.client_auth, settings)
    raise TypeError("neither htpasswd nor client_auth")


def _check(config: BasicAuthConfig, settings: Settings) -> list[str]:
    return faults(_build(config, settings).read)


FACTORY = Factory(
    name="basicauth",
    kind=Kind.EXTENSION,
    config=BasicAuthConfig,
    build=lambda config, settings, _consumer: _build(config, settings),
    check=_check,
)

__all__ = ["FACTORY", "BasicAuthClient", "BasicAuthConfig", "BasicAuthServer"]
