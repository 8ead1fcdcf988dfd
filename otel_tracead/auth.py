"""The `auth` sections of servers and clients, and the extensions that they name."""

from typing import ClassVar

from otel_tracead.component import ClientAuthenticator, Component, ComponentConfig, ServerAuthenticator, Settings
from otel_tracead.config_types import Authenticator, Strings
from otel_tracead.errors import ConfigError


class AuthConfig(ComponentConfig):
    """Who says whether a request may pass.

    Attributes:
        authenticator: id of an extension such as `bearertokenauth`; `service::extensions` must name it.
    """

    null_is_off: ClassVar[bool] = True

    authenticator: Authenticator


class HttpServerAuthConfig(AuthConfig):
    """The same for an HTTP listener.

    Attributes:
        request_params: parameters of the URL that stand for headers of the same name.
    """

    request_params: Strings = ()


def server_authenticator(settings: Settings, config: AuthConfig | None) -> ServerAuthenticator | None:
    """Give the extension that *config* names, None where there is no `auth` section.

    Raises:
        ConfigError: there is no such extension, or it is none for servers.
    """
    if config is None:
        return None
    found = _named(settings, config)
    if isinstance(found, ServerAuthenticator):
        return found
    raise ConfigError([f'auth: "{config.authenticator}" is not a server authenticator'])


def client_authenticator(settings: Settings, config: AuthConfig | None) -> ClientAuthenticator | None:
    """Give the extension that *config* names, None where there is no `auth` section.

    Raises:
        ConfigError: there is no such extension, or it is none for clients.
    """
    if config is None:
        return None
    found = _named(settings, config)
    if isinstance(found, ClientAuthenticator):
        return found
    raise ConfigError([f'auth: "{config.authenticator}" is not a client authenticator'])


def _named(settings: Settings, config: AuthConfig) -> Component:
    found = settings.extensions.get(config.authenticator)
    if found is None:
        raise ConfigError([f'auth: failed to resolve authenticator "{config.authenticator}": authenticator not found'])
    return found
