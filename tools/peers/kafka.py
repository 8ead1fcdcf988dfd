"""Kafka: one broker that is its own controller (KRaft), from the jars on Maven Central."""

import shutil
import subprocess
from pathlib import Path

from tools.peers.cache import cache_folder, execute, locked, need
from tools.peers.process import HOST, Process, free_port, listening

_MANIFEST = Path(__file__).parent / "kafka.xml"
_CLUSTER = "MkU3OEVBNTcwNTJENDM2Qk"
_SCRAM = ("SCRAM-SHA-256", "SCRAM-SHA-512")
USER, PASSWORD = "tracead", "secret"
_JAVA = ("java", "-Xmx512m", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")


def install() -> Path:
    """Fetch the jars unless they are there; gives the folder that holds them.

    Raises:
        Unavailable: no Java, no Maven, or Maven cannot fetch them.
    """
    need("java")
    if _installed():
        return _jars()
    need("mvn")
    with locked("kafka") as folder:
        if not _installed():
            shutil.rmtree(_jars(), ignore_errors=True)
            execute(
                [
                    *("mvn", "-q", "-B", "-f", _MANIFEST.resolve(), "dependency:copy-dependencies"),
                    *("-DincludeScope=runtime", f"-DoutputDirectory={_jars()}"),
                ],
                cwd=folder,
            )
            (folder / "installed.xml").write_bytes(_MANIFEST.read_bytes())
    return _jars()


class Broker(Process):
    """A running broker with plain text on 127.0.0.1; a topic comes into being with the first message written to it.

    It may be stopped and started again: what it holds lies in *folder*.

    Attributes:
        address: host:port, for clients.
        secure: host:port for those that speak TLS and are `USER` with `PASSWORD`, where there is a certificate.
    """

    def __init__(
        self, folder: Path, *, ports: tuple[int, int] | None = None, certificate: tuple[Path, Path] | None = None
    ) -> None:
        """Start it.

        Args:
            folder: for its data and its log.
            ports: for clients and for the controller; free ones by default.
            certificate: PEM files of a certificate and its key (PKCS 8), for a second port with TLS and SASL.
        """
        self.ports = ports or (free_port(), free_port())
        self.address = f"{HOST}:{self.ports[0]}"
        folder.mkdir(parents=True, exist_ok=True)
        properties = folder / "server.properties"
        secure = free_port() if certificate is not None else None
        self.secure = f"{HOST}:{secure}"
        lines = _properties(folder, *self.ports, secure)
        if certificate is not None:
            pem = folder / "server.pem"
            pem.write_bytes(certificate[1].read_bytes() + certificate[0].read_bytes())
            lines += _security(pem)
        properties.write_text("\n".join([*lines, ""]))
        java = [*_JAVA, "-cp", f"{install()}/*"]
        format_ = [
            "format",
            "--standalone",
            "--ignore-formatted",
            "--cluster-id",
            _CLUSTER,
            "--config",
            str(properties),
            *(word for name in _SCRAM for word in ("--add-scram", f"{name}=[name={USER},password={PASSWORD}]")),
        ]
        subprocess.run([*java, "kafka.tools.StorageTool", *format_], check=True, capture_output=True)
        super().__init__(
            [*java, "kafka.Kafka", properties],
            log=folder / "broker.log",
            ready=listening(self.ports[0]),
            patience=90,
        )


def _jars() -> Path:
    return cache_folder("kafka") / "libs"


def _installed() -> bool:
    record = cache_folder("kafka") / "installed.xml"
    return record.exists() and record.read_bytes() == _MANIFEST.read_bytes()


def _security(pem: Path) -> list[str]:
    login = "org.apache.kafka.common.security"
    plain = f'{login}.plain.PlainLoginModule required user_{USER}="{PASSWORD}";'
    return [
        "ssl.keystore.type=PEM",
        f"ssl.keystore.location={pem}",
        f"listener.name.secure.sasl.enabled.mechanisms={','.join(('PLAIN', *_SCRAM))}",
        f"listener.name.secure.plain.sasl.jaas.config={plain}",
        *(
            f"listener.name.secure.{name.lower()}.sasl.jaas.config={login}.scram.ScramLoginModule required;"
            for name in _SCRAM
        ),
    ]


def _properties(folder: Path, port: int, controller: int, secure: int | None) -> list[str]:
    return [
        "node.id=1",
        "process.roles=broker,controller",
        f"listeners=PLAINTEXT://{HOST}:{port},CONTROLLER://{HOST}:{controller}"
        + (f",SECURE://{HOST}:{secure}" if secure is not None else ""),
        "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SECURE:SASL_SSL",
        "controller.listener.names=CONTROLLER",
        f"controller.quorum.bootstrap.servers={HOST}:{controller}",
        f"log.dirs={folder / 'data'}",
        "auto.create.topics.enable=true",
        # A single broker holds the only copy of everything.
        "offsets.topic.replication.factor=1",
        "offsets.topic.num.partitions=1",
        "transaction.state.log.replication.factor=1",
        "transaction.state.log.min.isr=1",
        "share.coordinator.state.topic.replication.factor=1",
        "share.coordinator.state.topic.min.isr=1",
        # Tests shall not wait for consumers that may still join, nor long for those that were killed.
        "group.initial.rebalance.delay.ms=0",
        "group.min.session.timeout.ms=500",
    ]
