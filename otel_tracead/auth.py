"""Who may come in: the `auth` sections of servers and clients, the extensions that they name, and a warning where anybody may."""

import ipaddress
from typing import Any, ClassVar

from otel_tracead.component import ClientAuthenticator, Component, ComponentConfig, ServerAuthenticator, Settings
from otel_tracead.config_types import Authenticator, Endpoint, Strings
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


def warn_if_open(logger: Any, endpoint: Endpoint, host: str, *, encrypted: bool, guarded: bool) -> None:
    """Warn of a listener for spans at the address *host* that other machines can reach, and of what it is without.

    Args:
        logger: of the component.
        endpoint: as the user wrote it.
        host: an IP address.
        encrypted: whether it speaks TLS.
        guarded: whether it asks who sends.
    """
    if _is_of_this_machine(host) or (encrypted and guarded):
        return
    if guarded:
        missing, danger = "TLS", "spans and credentials can be read on their way"
    else:
        missing, danger = "auth" if encrypted else "TLS and auth", "anyone there can send spans"
    message = f"the listener is reachable from other machines without {missing}: {danger}"
    logger.warning(message, endpoint=str(endpoint))


def warn_if_readable(logger: Any, endpoint: Endpoint, host: str, what: str) -> None:
    """Warn of a listener that tells anybody *what*, at the address *host*, if other machines can reach it."""
    if not _is_of_this_machine(host):
        logger.warning(
            "the listener is reachable from other machines: anyone there can read it", endpoint=str(endpoint), what=what
        )


def _is_of_this_machine(host: str) -> bool:
    return ipaddress.ip_address(host.partition("%")[0]).is_loopback


def _named(settings: Settings, config: AuthConfig) -> Component:
    found = settings.extensions.get(config.authenticator)
    if found is None:
        raise ConfigError([f'auth: failed to resolve authenticator "{config.authenticator}": authenticator not found'])
    return found
