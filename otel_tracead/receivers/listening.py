"""What every listener does alike: find its address, bind it or say why not."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Final

from otel_tracead.config_types import Endpoint

_BACKLOG: Final = 1024


def address(endpoint: Endpoint) -> str:
    """Give the one IP address that *endpoint* listens on; of several, IPv4 first, as Go does.

    Raises:
        OSError: the name has no address.
    """
    if not endpoint.host:
        return "::" if socket.has_dualstack_ipv6() else "0.0.0.0"  # noqa: S104 (the user wrote `:port`)
    try:
        found = socket.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise OSError(
            error.errno, f"cannot listen on {endpoint}: the name has no address ({error.strerror})"
        ) from error
    found.sort(key=lambda entry: entry[0] is not socket.AF_INET)
    return str(found[0][4][0])


def bind(endpoint: Endpoint) -> socket.socket:
    """Give a listening socket at *endpoint*.

    Raises:
        OSError: the address is in use or not ours.
    """
    host = address(endpoint)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, endpoint.port), family=family, backlog=_BACKLOG, dualstack_ipv6=host == "::")
    except OSError as error:
        raise cannot_listen(endpoint, error) from error


async def stop_accepting(listening: socket.socket, close: Callable[[], Awaitable[None]], patience: float) -> None:
    """Accept no more connections, and return when those that were accepted have begun.

    Args:
        listening: the server's socket.
        close: closes the server.
        patience: seconds that a connection may take to begin.
    """
    loop = asyncio.get_running_loop()
    if isinstance(loop, asyncio.SelectorEventLoop):
        # It accepts in steps, and drops what is between them when the server is closed.
        loop.remove_reader(listening)
        await asyncio.sleep(patience)
        await close()
    else:  # uvloop's accepts in one step, and a server's socket is nobody else's there
        await close()
        await asyncio.sleep(patience)


def cannot_listen(endpoint: Endpoint, error: Exception) -> OSError:
    """Make the error for an address that cannot be bound."""
    number = error.errno if isinstance(error, OSError) else None
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return OSError(number, f"cannot listen on {endpoint}: {reason}; is another process using the port?")
