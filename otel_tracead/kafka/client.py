"""How brokers are reached: the keys that both Kafka components have, and librdkafka's properties made of them.

Keys and defaults are those of the Collector's configkafka (0.155); the older ones of 0.140 are taken too.
Source: opentelemetry-collector-contrib, pkg/kafka/configkafka/config.go; librdkafka, CONFIGURATION.md.
"""

import logging
import re
from typing import Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from otel_tracead.component import ComponentConfig
from otel_tracead.config_types import Duration, NotHere, PositiveDuration, Size, Strings, WithoutEffect
from otel_tracead.log_limit import LogLimiter
from otel_tracead.redaction import Secret
from otel_tracead.tls import ClientTls

Properties = dict[str, Any]
"""librdkafka's configuration: properties and callbacks by name."""

Encoding = Literal["otlp_proto", "otlp_json", "zipkin_json", "zipkin_proto"]
"""How spans stand in a record."""

_OPENSSL: Final = NotHere("librdkafka leaves that to its OpenSSL: 1.2 and newer")
_RELOAD: Final = NotHere("SIGHUP reads the file again, once the section changes")
_VERSION: Final = re.compile(r"[0-9]+(\.[0-9]+){1,3}")


def _split(value: object) -> object:
    """Read a list of strings also from one string with commas, as the Collector does."""
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


List = Annotated[Strings, BeforeValidator(_split)]
"""A list of strings, or one string with commas."""


class KafkaTls(ClientTls):
    """TLS of the connections to the brokers."""

    null_is_off: ClassVar[bool] = True  # measured: whatever its page says, the Collector 0.155 then speaks plain text

    min_version: Literal["1.2"] = "1.2"
    max_version: Annotated[Any, _OPENSSL] = None
    reload_interval: Annotated[Any, _RELOAD] = None
    server_name_override: Annotated[Any, NotHere("librdkafka verifies the name that it connects to")] = None

    def properties(self) -> Properties:
        """Give librdkafka's properties.

        Raises:
            OSError: a file cannot be read.
        """
        made: Properties = {"enable.ssl.certificate.verification": not self.insecure_skip_verify}
        authorities = self.authorities()
        if authorities is not None:
            made["ssl.ca.pem"] = authorities.decode("ascii", "ignore")
        if self.cert_file is not None and self.key_file is not None:  # a file may hold a chain, a text one certificate
            made |= {"ssl.certificate.location": str(self.cert_file), "ssl.key.location": str(self.key_file)}
        elif (pair := self.key_pair()) is not None:
            key, certificate = (part.decode("ascii", "ignore") for part in pair)
            made |= {"ssl.certificate.pem": certificate, "ssl.key.pem": key}
        return made


class SaslConfig(ComponentConfig):
    """Who we are, by SASL.

    Attributes:
        username: the name.
        password: its password.
        mechanism: how the password is shown.
        version: deprecated: the handshake is negotiated.
    """

    username: Annotated[str, Field(min_length=1)]
    password: Secret
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]
    version: Annotated[Literal[0, 1] | None, WithoutEffect("the handshake is negotiated")] = None
    aws_msk: Annotated[Any, NotHere("the mechanisms are PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512")] = None
    oauthbearer_token_source: Annotated[Any, NotHere("the mechanisms are PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512")] = (
        None
    )

    @field_validator("mechanism", mode="before")
    @classmethod
    def _that_is_here(cls, mechanism: object) -> object:
        if mechanism in {"AWS_MSK_IAM_OAUTHBEARER", "OAUTHBEARER"}:
            raise ValueError(f'"{mechanism}" is not in otel-tracead: use PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512')
        return mechanism

    @field_validator("password")
    @classmethod
    def _is_there(cls, password: Secret) -> Secret:
        if not password:
            raise ValueError("password is required")
        return password


class PlainText(ComponentConfig):
    """Deprecated: `sasl` with the mechanism PLAIN.

    Attributes:
        username: the name.
        password: its password.
    """

    username: str
    password: Secret


class AuthConfig(ComponentConfig):
    """How we prove who we are.

    Attributes:
        sasl: by SASL.
        plain_text: deprecated: write `sasl` with `mechanism: PLAIN`.
        tls: deprecated: write `tls` at the top.
    """

    sasl: SaslConfig | None = None
    plain_text: PlainText | None = None
    tls: KafkaTls | None = None
    kerberos: Annotated[Any, NotHere("librdkafka's wheels are built without it; use sasl")] = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if self.sasl is not None and self.plain_text is not None:
            raise ValueError("sasl and plain_text (deprecated) must not both be given")
        return self


class MetadataRetry(ComponentConfig):
    """Has no effect: the client asks until it is answered."""

    max: Annotated[Size | None, WithoutEffect("the client asks until it is answered")] = None
    backoff: Annotated[Duration | None, WithoutEffect("the client asks until it is answered")] = None


class MetadataConfig(ComponentConfig):
    """What is known of the cluster.

    Attributes:
        refresh_interval: how often it is asked.
    """

    refresh_interval: PositiveDuration = 600.0
    full: Annotated[bool | None, WithoutEffect("the client asks for the topics that it needs")] = None
    retry: MetadataRetry = MetadataRetry()


class KafkaClientConfig(ComponentConfig):
    """Base of both Kafka components' configurations.

    Attributes:
        brokers: host:port of at least one broker; the others are learned from it.
        client_id: our name at the brokers, for their quotas and logs.
        rack_id: where we stand, so that the brokers can let us read from the nearest replica.
        tls: encryption; absent speaks plain text.
        auth: who we are.
        metadata: what is known of the cluster.
        conn_idle_timeout: a connection that was not used for so long is closed.
        resolve_canonical_bootstrap_servers_only: take each broker's address for an alias, and look its names up.
    """

    brokers: Annotated[List, Field(min_length=1)] = ("localhost:9092",)
    client_id: str = "otel-collector"
    rack_id: str = ""
    tls: KafkaTls | None = None
    auth: AuthConfig = AuthConfig()
    metadata: MetadataConfig = MetadataConfig()
    conn_idle_timeout: PositiveDuration = 540.0
    resolve_canonical_bootstrap_servers_only: bool = False
    protocol_version: Annotated[str | None, WithoutEffect("the client asks each broker what it speaks")] = None
    use_leader_epoch: Annotated[bool | None, WithoutEffect("the client uses it where the broker does")] = None

    @field_validator("protocol_version")
    @classmethod
    def _is_a_version(cls, version: str | None) -> str | None:
        if version and _VERSION.fullmatch(version) is None:
            raise ValueError(f'invalid protocol version: "{version}"')
        return version

    @field_validator("brokers")
    @classmethod
    def _no_blank(cls, brokers: tuple[str, ...]) -> tuple[str, ...]:
        if not all(brokers):
            raise ValueError("a broker is host:port, such as localhost:9092")
        return brokers

    def deprecated(self) -> list[str]:
        """Say what is written in a way that the Collector has left behind, and how to write it."""
        found = []
        if self.auth.plain_text is not None:
            found.append("auth::plain_text is deprecated: use auth::sasl with mechanism: PLAIN")
        if self.auth.tls is not None:
            found.append("auth::tls is deprecated: use tls at the top")
        return found

    def client_properties(self) -> Properties:
        """Give librdkafka's properties for any client.

        Raises:
            OSError: a certificate cannot be read.
        """
        tls = self.tls if self.tls is not None else self.auth.tls
        encrypted = tls is not None and not tls.insecure
        sasl = self._sasl()
        kind = ("SASL_" if sasl else "") + ("SSL" if encrypted else "PLAINTEXT")
        refresh = milliseconds(self.metadata.refresh_interval)
        lookup = "resolve_canonical_bootstrap_servers_only" if self.resolve_canonical_bootstrap_servers_only else None
        return {
            "bootstrap.servers": ",".join(self.brokers),
            "client.id": self.client_id,
            "client.rack": self.rack_id,
            "security.protocol": kind,
            "topic.metadata.refresh.interval.ms": refresh,
            "metadata.max.age.ms": max(3 * refresh, 900_000),
            "reconnect.backoff.max.ms": 2000,  # brokers that come back are found soon
            "connections.max.idle.ms": milliseconds(self.conn_idle_timeout),
            **({"client.dns.lookup": lookup} if lookup else {}),
            **(tls.properties() if tls is not None and encrypted else {}),
            **sasl,
        }

    def _sasl(self) -> Properties:
        if self.auth.sasl is not None:
            name, password, mechanism = self.auth.sasl.username, self.auth.sasl.password, self.auth.sasl.mechanism
        elif self.auth.plain_text is not None:
            name, password, mechanism = self.auth.plain_text.username, self.auth.plain_text.password, "PLAIN"
        else:
            return {}
        return {"sasl.mechanism": mechanism, "sasl.username": name, "sasl.password": password.get_secret_value()}


class ClientLog:
    """Takes librdkafka's own log lines, and says what repeats once a tick.

    Args:
        logger: of the component.
    """

    def __init__(self, logger: Any) -> None:
        self._logs = LogLimiter(logger, tick=30.0)

    def log(self, level: int, message: str, *args: object, **_: object) -> None:
        """Log a line as `logging.Logger.log` would; what is below a warning is for those who debug the client."""
        if level >= logging.WARNING:
            self._logs.warning("the Kafka client says", message=(message % args)[:300])


def milliseconds(seconds: float) -> int:
    """Give a time as librdkafka takes it."""
    return max(1, round(seconds * 1000))
