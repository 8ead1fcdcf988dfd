"""TLS and mTLS between our own exporters and receivers, with certificates made on the spot."""

import asyncio
import ssl
from pathlib import Path
from typing import Any

import pytest
from otel_tracead_exporters import otlp_grpc, otlp_http
from otel_tracead_exporters import zipkin as zipkin_exporter
from pydantic import BaseModel, ValidationError

from otel_tracead.component import Kind, Settings
from otel_tracead.delivery import Consignment
from otel_tracead.receivers import otlp, zipkin
from otel_tracead.testing import RecordingConsumer
from otel_tracead.tls import ClientTls, ServerTls
from tests.contract.exporter_contract import batch
from tests.exporters.certificates import make


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    for name in ("server", "client"):
        make(folder, name)
    return folder


async def through(receiver_tls: dict, exporter_tls: dict, protocol: str) -> int:
    """Send two spans through; give how many arrived within a second."""
    consumer = RecordingConsumer()
    settings = Settings(id="x", kind=Kind.RECEIVER)
    endpoint = {"endpoint": "127.0.0.1:0", "tls": receiver_tls}
    if protocol == "zipkin":
        receiver = zipkin.FACTORY.build(zipkin.ZipkinReceiverConfig.model_validate(endpoint), settings, consumer)
    else:
        written = {"protocols": {protocol: endpoint}}
        receiver = otlp.FACTORY.build(otlp.OtlpReceiverConfig.model_validate(written), settings, consumer)
    await receiver.start()
    port = next(iter(receiver.ports.values()))
    factory, target = {
        "grpc": (otlp_grpc.FACTORY, f"127.0.0.1:{port}"),
        "http": (otlp_http.FACTORY, f"https://127.0.0.1:{port}"),
        "zipkin": (zipkin_exporter.FACTORY, f"https://127.0.0.1:{port}/api/v2/spans"),
    }[protocol]
    written = {"endpoint": target, "tls": exporter_tls, "retry_on_failure": {"enabled": False}}
    exporter = factory.build(factory.config.model_validate(written), Settings(id="y", kind=Kind.EXPORTER), None)
    await exporter.start()
    await exporter.consume(Consignment(batch("a", "b")))
    await exporter.shutdown()
    await receiver.shutdown()
    await asyncio.sleep(0)
    return len(consumer.spans)


@pytest.mark.parametrize("protocol", ["grpc", "http", "zipkin"])
async def test_who_may_talk_to_whom(certificates: Path, protocol: str) -> None:
    server = {"cert_file": str(certificates / "server.pem"), "key_file": str(certificates / "server.key")}
    knows_server = {"ca_file": str(certificates / "server.pem")}
    client = {"cert_file": str(certificates / "client.pem"), "key_file": str(certificates / "client.key")}
    mutual = {**server, "client_ca_file": str(certificates / "client.pem")}
    assert await through(server, knows_server, protocol) == 2
    assert await through(server, {**knows_server, "server_name_override": "other.test"}, protocol) == 2
    assert await through(server, {**knows_server, "server_name_override": "evil.test"}, protocol) == 0
    assert await through(server, {}, protocol) == 0
    assert await through(mutual, {**knows_server, **client}, protocol) == 2
    assert await through(mutual, knows_server, protocol) == 0
    assert await through({**server, "min_version": "1.3"}, {"insecure_skip_verify": True}, protocol) == 2
    assert await through({**server, "min_version": "1.3"}, {**knows_server, "max_version": "1.2"}, protocol) == 0


async def test_a_missing_certificate_stops_the_start(tmp_path: Path) -> None:
    missing = {"cert_file": str(tmp_path / "none.pem"), "key_file": str(tmp_path / "none.key")}
    for protocol in ("grpc", "http"):
        with pytest.raises(OSError, match="No such file"):
            await through(missing, {}, protocol)


@pytest.mark.parametrize(
    "written", [{"cert_file": "a"}, {"min_version": "1.1"}, {"cipher_suites": ["x"]}, {"key_pem": "x"}]
)
def test_what_is_not_implemented_is_refused(written: dict) -> None:
    for model in (ServerTls, ClientTls):
        with pytest.raises(ValidationError):
            model.model_validate(written)


async def test_certificates_may_be_text(certificates: Path) -> None:
    def text(name: str) -> str:
        return (certificates / name).read_text()

    server = {"cert_pem": text("server.pem"), "key_pem": text("server.key")}
    client = {"ca_pem": text("server.pem"), "cert_pem": text("client.pem"), "key_pem": text("client.key")}
    mutual = {**server, "client_ca_file": str(certificates / "client.pem")}
    for protocol in ("grpc", "http"):
        assert await through(mutual, client, protocol) == 2, protocol
        both = {"ca_pem": text("client.pem"), "include_system_ca_certs_pool": True}
        assert await through(server, both, protocol) == 0, protocol


def read(path: str, instead: str | None = None) -> str:
    """Give what a file holds, after writing *instead* into it."""
    if instead is not None:
        Path(path).write_text(instead)
    return Path(path).read_text()


async def served(port: int) -> str:
    """Give the certificate that a listener shows, in a thread: it must go on serving."""
    return await asyncio.to_thread(ssl.get_server_certificate, ("127.0.0.1", port))


@pytest.mark.parametrize("protocol", ["grpc", "http"])
async def test_a_renewed_certificate_is_taken(tmp_path: Path, protocol: str) -> None:
    keys = make(tmp_path, "server")
    written = {"endpoint": "127.0.0.1:0", "tls": {**keys, "reload_interval": "1ms"}}
    config = otlp.OtlpReceiverConfig.model_validate({"protocols": {protocol: written}})
    receiver: Any = otlp.FACTORY.build(config, Settings(id="x", kind=Kind.RECEIVER), RecordingConsumer())
    await receiver.start()
    (port,) = receiver.ports.values()
    first = read(keys["cert_file"])
    assert (await served(port)).split() == first.split()
    make(tmp_path, "server")
    second = read(keys["cert_file"])
    await asyncio.sleep(0.01)
    assert (await served(port)).split() == second.split() != first.split()
    read(keys["key_file"], "no key")
    await asyncio.sleep(0.01)
    assert (await served(port)).split() == second.split(), "what cannot be read leaves the old one"
    await receiver.shutdown()


@pytest.mark.parametrize(
    ("model", "written", "word"),
    [
        (ServerTls, {}, "must include both certificate and key"),
        (ServerTls, {"cert_file": "a", "cert_pem": "b", "key_file": "c"}, "either cert_file or cert_pem"),
        (ClientTls, {"cert_pem": "a"}, "must include both"),
        (ClientTls, {"min_version": "1.3", "max_version": "1.2"}, "cannot be greater"),
    ],
)
def test_what_does_not_go_together_is_said(model: type[BaseModel], written: dict, word: str) -> None:
    with pytest.raises(ValidationError, match=word):
        model.model_validate(written)
