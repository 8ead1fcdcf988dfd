"""The `tls` sections of servers and clients, and the contexts made of them for HTTP and gRPC.

Keys, names and defaults are those of the Collector's configtls; what is not implemented is an unknown key.
"""

import ssl
from typing import Any, Final, Literal, Self

from pydantic import model_validator

from otel_tracead.component import ComponentConfig
from otel_tracead.config_types import FilePath

_VERSIONS: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


class ServerTls(ComponentConfig):
    """TLS of a listener.

    Attributes:
        cert_file: the server's certificate chain, PEM.
        key_file: its private key, PEM.
        client_ca_file: clients must show a certificate of these authorities (mTLS).
        min_version: the oldest protocol spoken.
    """

    cert_file: FilePath
    key_file: FilePath
    client_ca_file: FilePath | None = None
    min_version: Literal["1.2", "1.3"] = "1.2"

    def context(self) -> ssl.SSLContext:
        """Make the context for an HTTP server.

        Raises:
            OSError: a file cannot be read or is no certificate (ssl.SSLError is an OSError).
        """
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = _VERSIONS[self.min_version]
        context.load_cert_chain(self.cert_file, self.key_file)
        if self.client_ca_file is not None:
            context.load_verify_locations(self.client_ca_file)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def grpc_credentials(self) -> Any:
        """Make the credentials for a gRPC server.

        Raises:
            OSError: a file cannot be read.
        """
        import grpc

        pair = (self.key_file.read_bytes(), self.cert_file.read_bytes())
        authorities = None if self.client_ca_file is None else self.client_ca_file.read_bytes()
        return grpc.ssl_server_credentials([pair], authorities, require_client_auth=authorities is not None)


class ClientTls(ComponentConfig):
    """TLS of a connection to a backend.

    Attributes:
        insecure: speak plain text (gRPC; for HTTP the URL's scheme decides).
        insecure_skip_verify: encrypt, but take any certificate.
        ca_file: the authorities that are trusted; without it the system's.
        cert_file: our own certificate chain (mTLS), PEM.
        key_file: its private key, PEM.
        server_name_override: the name that the server's certificate must have, instead of the endpoint's.
        min_version: the oldest protocol spoken.
    """

    insecure: bool = False
    insecure_skip_verify: bool = False
    ca_file: FilePath | None = None
    cert_file: FilePath | None = None
    key_file: FilePath | None = None
    server_name_override: str | None = None
    min_version: Literal["1.2", "1.3"] = "1.2"

    @model_validator(mode="after")
    def _cert_with_key(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file belong together: give both or none")
        return self

    def context(self) -> ssl.SSLContext:
        """Make the context for an HTTP client.

        Raises:
            OSError: a file cannot be read or is no certificate.
        """
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=self.ca_file)
        context.minimum_version = _VERSIONS[self.min_version]
        if self.cert_file is not None:
            context.load_cert_chain(self.cert_file, self.key_file)
        if self.insecure_skip_verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    def grpc_credentials(self) -> Any:
        """Make the credentials for a gRPC channel.

        Raises:
            OSError: a file cannot be read.
        """
        import grpc

        ca, key, cert = (
            None if path is None else path.read_bytes() for path in (self.ca_file, self.key_file, self.cert_file)
        )
        return grpc.ssl_channel_credentials(ca, key, cert)
