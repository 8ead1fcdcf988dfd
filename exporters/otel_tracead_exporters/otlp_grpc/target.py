"""Where a channel connects to, as gRPC writes it: `host:port`, `dns:///host:port`, `ipv4:a:1,b:2`, `unix:path`; and by which proxy."""

import base64
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote, urlsplit
from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]  # typeshed does not know it

from otel_tracead.redaction import without_secrets

_PROXIES: Final = ("grpc_proxy", "https_proxy", "http_proxy")
_NO_PROXIES: Final = ("no_grpc_proxy", "no_proxy")


@dataclass(frozen=True, slots=True)
class Target:
    """What an endpoint means.

    Attributes:
        hosts: (name or address, port) of each; empty for a Unix socket.
        path: of the Unix socket.
        authority: what the `:authority` header says if nothing else was asked for.
    """

    hosts: tuple[tuple[str, int], ...]
    path: str = ""
    authority: str = "localhost"

    @classmethod
    def parse(cls, text: str) -> "Target":
        """Read *text*.

        Raises:
            ValueError: it is none of those forms.
        """
        scheme, colon, rest = text.partition(":")
        if scheme in {"unix", "unix-abstract"} and colon:
            path = rest.removeprefix("//") if rest.startswith("///") else rest
            return cls((), path if scheme == "unix" else "\0" + rest)
        if scheme in {"ipv4", "ipv6"} and colon:
            hosts = tuple(_host(one) for one in rest.lstrip("/").split(","))
            return cls(hosts, authority=rest.lstrip("/").split(",")[0])
        if text.startswith("dns:"):
            if text.startswith("dns://") and not text.startswith("dns:///"):
                raise ValueError(
                    f'"{without_secrets(text)}" names a name server: write dns:///host:port, the system\'s is asked'
                )
            text = text.removeprefix("dns:").lstrip("/")
        elif "//" in text:
            raise ValueError(
                f'"{without_secrets(text)}" is no endpoint: write host:port, dns:///host:port, ipv4:, ipv6: or unix:'
            )
        return cls((_host(text),), authority=text)


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy that connects through (`CONNECT`).

    Attributes:
        host: of the proxy.
        port: of the proxy.
        credentials: what `Proxy-Authorization` says, or nothing.
    """

    host: str
    port: int
    credentials: str = ""

    def request(self, host: str, port: int) -> bytes:
        """Write what asks it for *host*."""
        name = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        head = f"CONNECT {name} HTTP/1.1\r\nHost: {name}\r\n"
        return (head + (f"Proxy-Authorization: {self.credentials}\r\n" if self.credentials else "") + "\r\n").encode()

    def check(self, answer: bytes) -> None:
        """Look whether *answer* says that the connection is there.

        Raises:
            ConnectionError: it does not.
        """
        if answer.split(b" ", 2)[1:2] != [b"200"]:
            said = answer.partition(b"\r\n")[0][:80].decode("latin-1") or "nothing"
            raise ConnectionError(f"the proxy {self.host}:{self.port} says: {said}")


def proxy_for(host: str, port: int, environment: Mapping[str, str] = os.environ) -> Proxy | None:
    """Find the proxy that the environment names for *host*, by the variables that gRPC reads."""
    url = next((environment[name] for name in _PROXIES if environment.get(name)), "")
    excepted = next((environment[name] for name in _NO_PROXIES if environment.get(name)), "")
    if not url or proxy_bypass_environment(f"{host}:{port}", {"no": excepted}):
        return None
    parts = urlsplit(url if "//" in url else f"//{url}")
    if parts.hostname is None:
        return None
    user = f"{unquote(parts.username)}:{unquote(parts.password or '')}" if parts.username else ""
    credentials = f"Basic {base64.b64encode(user.encode()).decode()}" if user else ""
    return Proxy(parts.hostname, parts.port or 80, credentials)


def _host(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), int(port)
