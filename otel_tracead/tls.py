"""The `tls` sections of servers and clients, and the contexts made of them for HTTP and gRPC.

Keys, names and defaults are those of the Collector's configtls; docs/configuration.md lists what of it is not here.
"""

import errno
import logging
import os
import ssl
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import model_validator

from otel_tracead.component import ComponentConfig
from otel_tracead.config_types import Duration, FilePath, NotHere
from otel_tracead.fingerprint import stamp
from otel_tracead.redaction import Secret

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
        reload_interval: files are looked at again when a connection is made so long after the last time, and read again if one
            of them has changed; connections that there are keep what they were made with.
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
            OSError: a file cannot be read, or there is nothing in it: that must not mean the system's.
        """
        if self.ca_file is None and not self.ca_pem:
            return None
        given = _read(self.ca_file, self.ca_pem)
        if not given.strip():
            raise OSError(errno.EINVAL, "there is no certificate in it", str(self.ca_file or "ca_pem"))
        system = ssl.get_default_verify_paths().cafile
        return given + b"\n" + Path(system).read_bytes() if self.include_system_ca_certs_pool and system else given

    def files(self) -> tuple[Path, ...]:
        """Give the files that are read."""
        return tuple(file for file in (self.cert_file, self.key_file, self.ca_file) if file is not None)

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
            context.load_cert_chain(self.cert_file, self.key_file, _no_password)
            return
        key, certificate = self.key_pair() or (b"", b"")
        in_memory = os.memfd_create("tls", os.MFD_CLOEXEC)
        try:
            os.write(in_memory, certificate + b"\n" + key)
            context.load_cert_chain(f"/proc/self/fd/{in_memory}", password=_no_password)
        finally:
            os.close(in_memory)


class ServerTls(_Tls):
    """TLS of a listener.

    Attributes:
        client_ca_file: clients must show a certificate of these authorities (mTLS).
        client_ca_file_reload: look at the files again with every connection.
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
        if not self.reload_interval and not self.client_ca_file_reload:
            return self._fresh(protocols)
        interval = 0.0 if self.client_ca_file_reload else self.reload_interval
        return _RenewedContext(ssl.PROTOCOL_TLS_SERVER, lambda: self._fresh(protocols), self.files(), interval)

    def files(self) -> tuple[Path, ...]:
        """Give the files that are read."""
        return super().files() if self.client_ca_file is None else (*super().files(), self.client_ca_file)

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
        if not self.reload_interval:
            return self._fresh(protocols)
        return _RenewedContext(
            ssl.PROTOCOL_TLS_CLIENT, lambda: self._fresh(protocols), self.files(), self.reload_interval
        )

    def _fresh(self, protocols: Sequence[str]) -> ssl.SSLContext:
        authorities = self.authorities()
        context = ssl.create_default_context(
            ssl.Purpose.SERVER_AUTH, cadata=None if authorities is None else authorities.decode("ascii", "ignore")
        )
        self._prepare(context, protocols)
        if self.insecure_skip_verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


class _RenewedContext(ssl.SSLContext):
    """Makes each connection by the files as they are on disk; what cannot be read leaves those before in force.

    A context made anew, and not a certificate loaded into the old one: that would lose its key where the new pair does not
    match, and sessions that clients resume would outlive the authorities that let them in.

    Args:
        protocol: which side it is for.
        make: reads the files.
        files: those that it reads.
        interval: seconds between two looks at them.
    """

    def __new__(cls, protocol: int, *_: object) -> Self:
        """Make it as its base is made, of its protocol alone."""
        return super().__new__(cls, protocol)

    def __init__(
        self, protocol: int, make: Callable[[], ssl.SSLContext], files: Sequence[Path], interval: float
    ) -> None:
        del protocol  # see above
        self._make = make
        self._files = files
        self._interval = interval
        self._stamps = self._look()
        self._current = make()
        self._due = time.monotonic() + interval

    def wrap_bio(self, *args: Any, **named: Any) -> ssl.SSLObject:
        """Begin a connection (see `ssl.SSLContext.wrap_bio`); all that asyncio asks of a context."""
        now = time.monotonic()
        if now >= self._due:
            self._due = now + self._interval
            self._renew()
        return self._current.wrap_bio(*args, **named)

    def _renew(self) -> None:
        stamps = self._look()
        if stamps == self._stamps:
            return
        try:
            self._current = self._make()
        except OSError as error:
            logging.getLogger(__name__).warning("certificates cannot be read again and stay as they were: %s", error)
        else:
            self._stamps = stamps

    def _look(self) -> list[tuple[int, int, int]]:
        return [stamp(file) for file in self._files]


def _no_password() -> str:
    """Keep OpenSSL from asking for it on the terminal."""
    raise OSError(
        errno.EINVAL, "the private key is encrypted, and there is no password for it here: store it decrypted"
    )


def _read(file: Path | None, text: Secret) -> bytes:
    return text.get_secret_value().encode() if file is None else file.read_bytes()
