"""The `tls` sections of servers and clients, and the contexts made of them for HTTP and gRPC.

Keys, names and defaults are those of the Collector's configtls; docs/configuration.md lists what of it is not here.
"""

import logging
import os
import ssl
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import model_validator

from otel_tracead.component import ComponentConfig
from otel_tracead.config_types import Duration, FilePath, NotHere, Secret

Version = Literal["1.2", "1.3"]

_VERSIONS: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
_OPENSSL_CHOOSES: Final = NotHere("OpenSSL's own choice is kept up with its security updates")


class _Tls(ComponentConfig):
    """What both ends have.

    Attributes:
        cert_file: our certificate chain, PEM.
        cert_pem: the same as text.
        key_file: its private key, PEM.
        key_pem: the same as text.
        ca_file: the authorities that are trusted; without it the system's.
        ca_pem: the same as text.
        include_system_ca_certs_pool: trust the system's authorities as well.
        min_version: the oldest protocol spoken.
        max_version: the newest; absent for whatever there is.
        reload_interval: our certificate and key are read again when a connection comes so long after the last time.
    """

    cert_file: FilePath | None = None
    cert_pem: Secret = Secret("")
    key_file: FilePath | None = None
    key_pem: Secret = Secret("")
    ca_file: FilePath | None = None
    ca_pem: Secret = Secret("")
    include_system_ca_certs_pool: bool = False
    min_version: Version = "1.2"
    max_version: Version | None = None
    reload_interval: Duration = 0.0
    cipher_suites: Annotated[Any, _OPENSSL_CHOOSES] = None
    include_insecure_cipher_suites: Annotated[Any, _OPENSSL_CHOOSES] = None
    curve_preferences: Annotated[Any, _OPENSSL_CHOOSES] = None
    tpm: Annotated[Any, NotHere("keys are read from files or text")] = None

    @model_validator(mode="after")
    def _either_file_or_text(self) -> Self:
        for name, file, text in (
            ("ca", self.ca_file, self.ca_pem),
            ("cert", self.cert_file, self.cert_pem),
            ("key", self.key_file, self.key_pem),
        ):
            if file is not None and text:
                raise ValueError(f"provide either {name}_file or {name}_pem, but not both")
        if self.has_certificate != bool(self.key_file is not None or self.key_pem):
            raise ValueError(
                "TLS configuration must include both certificate and key (cert_file or cert_pem, and key_file or key_pem)"
            )
        return self

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.max_version is not None and self.max_version < self.min_version:
            raise ValueError("invalid TLS configuration: min_version cannot be greater than max_version")
        return self

    @property
    def has_certificate(self) -> bool:
        """Whether there is a certificate of our own."""
        return self.cert_file is not None or bool(self.cert_pem)

    def key_pair(self) -> tuple[bytes, bytes] | None:
        """Read our private key and certificate chain, PEM; None where there is none.

        Raises:
            OSError: a file cannot be read.
        """
        return (
            (_read(self.key_file, self.key_pem), _read(self.cert_file, self.cert_pem)) if self.has_certificate else None
        )

    def authorities(self) -> bytes | None:
        """Read the authorities to trust, PEM; None for the system's.

        Raises:
            OSError: a file cannot be read.
        """
        if self.ca_file is None and not self.ca_pem:
            return None
        given = _read(self.ca_file, self.ca_pem)
        system = ssl.get_default_verify_paths().cafile
        return given + b"\n" + Path(system).read_bytes() if self.include_system_ca_certs_pool and system else given

    def _prepare(self, context: ssl.SSLContext, protocols: Sequence[str]) -> None:
        context.minimum_version = _VERSIONS[self.min_version]
        if self.max_version is not None:
            context.maximum_version = _VERSIONS[self.max_version]
        if protocols:
            context.set_alpn_protocols(list(protocols))
        self._load(context)

    def _load(self, context: ssl.SSLContext) -> None:
        """Load our certificate into *context*, which takes files only: a text becomes one in memory."""
        if not self.has_certificate:
            return
        if self.cert_file is not None and self.key_file is not None:
            context.load_cert_chain(self.cert_file, self.key_file)
            return
        key, certificate = self.key_pair() or (b"", b"")
        in_memory = os.memfd_create("tls", os.MFD_CLOEXEC)
        try:
            os.write(in_memory, certificate + b"\n" + key)
            context.load_cert_chain(f"/proc/self/fd/{in_memory}")
        finally:
            os.close(in_memory)


class ServerTls(_Tls):
    """TLS of a listener.

    Attributes:
        client_ca_file: clients must show a certificate of these authorities (mTLS).
        client_ca_file_reload: read it again with every connection.
    """

    null_is_off: ClassVar[bool] = True

    client_ca_file: FilePath | None = None
    client_ca_file_reload: bool = False

    @model_validator(mode="after")
    def _has_one(self) -> Self:
        if not self.has_certificate:
            raise ValueError("TLS configuration must include both certificate and key for server connections")
        return self

    def context(self, *protocols: str) -> ssl.SSLContext:
        """Make the context for a server that speaks *protocols* (ALPN).

        Raises:
            OSError: a file cannot be read or is no certificate (ssl.SSLError is an OSError).
        """
        context = self._fresh(protocols)
        if not self.reload_interval and not self.client_ca_file_reload:
            return context
        current = [context]

        def renew() -> None:
            current[0] = self._fresh(protocols)

        reload = _reloader(renew, 0.0 if self.client_ca_file_reload else self.reload_interval)

        def at_each_handshake(handshake: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
            reload()
            handshake.context = current[0]

        context.sni_callback = at_each_handshake
        return context

    def _fresh(self, protocols: Sequence[str]) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._prepare(context, protocols)
        if self.client_ca_file is not None:
            context.load_verify_locations(self.client_ca_file)
            context.verify_mode = ssl.CERT_REQUIRED
        return context


class ClientTls(_Tls):
    """TLS of a connection to a backend.

    Attributes:
        insecure: speak plain text (gRPC; for HTTP the URL's scheme decides).
        insecure_skip_verify: encrypt, but take any certificate.
        server_name_override: the name that the server's certificate must have, instead of the endpoint's.
    """

    insecure: bool = False
    insecure_skip_verify: bool = False
    server_name_override: str | None = None

    def context(self, *protocols: str) -> ssl.SSLContext:
        """Make the context for a client that speaks *protocols* (ALPN).

        Raises:
            OSError: a file cannot be read or is no certificate.
        """
        authorities = self.authorities()
        context = ssl.create_default_context(
            ssl.Purpose.SERVER_AUTH, cadata=None if authorities is None else authorities.decode("ascii", "ignore")
        )
        self._prepare(context, protocols)
        if self.insecure_skip_verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    def reloader(self, context: ssl.SSLContext) -> Callable[[], None]:
        """Give what loads the certificate into *context* again if it is time; one that cannot be read stays as it was."""
        return _reloader(lambda: self._load(context), self.reload_interval)


def _read(file: Path | None, text: Secret) -> bytes:
    return text.get_secret_value().encode() if file is None else file.read_bytes()


def _reloader(load: Callable[[], None], interval: float) -> Callable[[], None]:
    due = time.monotonic() + interval

    def reload() -> None:
        nonlocal due
        now = time.monotonic()
        if now < due:
            return
        due = now + interval
        try:
            load()
        except OSError as error:
            logging.getLogger(__name__).warning("a certificate cannot be read again and stays as it was: %s", error)

    return reload
