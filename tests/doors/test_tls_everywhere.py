"""Every receiver and exporter that speaks TLS, found by walking all configurations, against a plain other end."""

import asyncio
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from otel_tracead.component import ComponentConfig, Factory, Kind, Settings
from otel_tracead.delivery import Consignment
from otel_tracead.service.registry import Registry
from otel_tracead.testing import RecordingConsumer
from otel_tracead.tls import ClientTls, ServerTls
from tests.contract.exporter_contract import FAST, batch
from tests.contract.receiver_contract import until
from tests.doors.tls_ends import Server, old, talk
from tests.exporters.certificates import make

HTTP = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
HTTP2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"


def read(path: str) -> str:
    return Path(path).read_text()


def write(path: str | Path, content: str) -> None:
    Path(path).write_text(content)


def tls_sections(model: type[BaseModel], base: type[BaseModel], path: tuple[str, ...] = ()) -> Iterator[str]:
    """Give the place of every section of class *base* in *model*."""
    for name, info in model.model_fields.items():
        for choice in (info.annotation, *get_args(info.annotation)):
            if isinstance(choice, type) and issubclass(choice, base):
                yield "::".join((*path, name))
            elif isinstance(choice, type) and issubclass(choice, ComponentConfig):
                yield from tls_sections(choice, base, (*path, name))


def found(base: type[BaseModel]) -> dict[str, str]:
    """Give all such places by name: `receivers otlp protocols::grpc::tls`."""
    registry = Registry()
    return {
        f"{kind.value} {name} {place}": name
        for kind in Kind
        for name in registry.names(kind)
        if (factory := registry.find(kind, name)) is not None
        for place in tls_sections(factory.config, base)
    }


LISTENERS = {
    "receivers otlp protocols::grpc::tls": HTTP2,
    "receivers otlp protocols::http::tls": HTTP,
    "receivers zipkin tls": HTTP,
}
# What each connects to, by the port of the server.
CALLERS: dict[str, Callable[[int], dict[str, Any]]] = {
    "exporters kafka tls": lambda port: {"brokers": [f"localhost:{port}"]},
    "exporters otlp_grpc tls": lambda port: {"endpoint": f"localhost:{port}"},
    "exporters otlp_http tls": lambda port: {"endpoint": f"https://localhost:{port}"},
    "exporters zipkin tls": lambda port: {"endpoint": f"https://localhost:{port}/api/v2/spans"},
    "receivers kafka tls": lambda port: {"brokers": [f"localhost:{port}"]},
}
# The older place of the same section; what stands there goes the same way (see `KafkaClientConfig.client_properties`).
DEPRECATED = {"exporters kafka auth::tls", "receivers kafka auth::tls"}
RENEWS = [
    name for name in CALLERS if "kafka" not in name
]  # librdkafka reads its files at its start; SIGHUP makes it anew


def test_nobody_who_speaks_tls_is_missing_here() -> None:
    assert found(ServerTls).keys() == LISTENERS.keys()
    assert found(ClientTls).keys() == CALLERS.keys() | DEPRECATED


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    folder = tmp_path_factory.mktemp("tls")
    return {name: make(folder, name) for name in ("server", "client", "stranger")}


def _factory(name: str) -> Factory[Any]:
    kind, component, _ = name.split(" ")
    factory = Registry().find(Kind(kind), component)
    assert factory is not None
    return factory


@asynccontextmanager
async def listening(name: str, tls: dict[str, Any]) -> AsyncIterator[int]:
    factory, place = _factory(name), name.split(" ")[2].split("::")
    written: dict[str, Any] = {"endpoint": "127.0.0.1:0", "tls": tls}
    for key in reversed(place[:-1]):
        written = {key: written}
    receiver: Any = factory.build(
        factory.config.model_validate(written), Settings(id="in", kind=Kind.RECEIVER), RecordingConsumer()
    )
    await receiver.start()
    try:
        yield next(iter(receiver.ports.values()))
    finally:
        await receiver.shutdown()


def client(name: str, authority: dict[str, str], own: dict[str, str] | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=authority["cert_file"])
    if LISTENERS.get(name) is HTTP2:
        context.set_alpn_protocols(["h2"])
    if own is not None:
        context.load_cert_chain(own["cert_file"], own["key_file"])
    return context


@pytest.mark.parametrize("name", LISTENERS)
class TestListeners:
    """Whoever listens."""

    async def test_who_is_let_in(self, name: str, keys: dict[str, dict[str, str]]) -> None:
        hello = LISTENERS[name]
        async with listening(name, {**keys["server"], "client_ca_file": keys["client"]["cert_file"]}) as port:

            async def answered(context: ssl.SSLContext | None) -> bool:
                return bool((await talk(port, context, hello))[0])

            assert await answered(client(name, keys["server"], keys["client"]))
            assert not await answered(None), "plain text"
            assert not await answered(client(name, keys["stranger"], keys["client"])), "a client that trusts others"
            assert not await answered(client(name, keys["server"])), "no certificate of its own"
            assert not await answered(client(name, keys["server"], keys["stranger"])), "one of nobody that we know"
            assert await answered(client(name, keys["server"], keys["client"])), "the next one is served"

    async def test_nothing_older_than_tls_1_2_is_spoken(self, name: str, keys: dict[str, dict[str, str]]) -> None:
        permissive = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        permissive.load_cert_chain(keys["server"]["cert_file"], keys["server"]["key_file"])
        async with Server(old(permissive)) as server:  # so that it is not we who cannot speak it
            await talk(server.port, old(client(name, keys["server"])), b"hello")
            assert [version for version, _ in server.seen] == ["TLSv1.1"]
        async with listening(name, keys["server"]) as port:
            assert (await talk(port, old(client(name, keys["server"])), LISTENERS[name]))[0] == b""
            modest = client(name, keys["server"])
            modest.maximum_version = ssl.TLSVersion.TLSv1_2
            answer, version = await talk(port, modest, LISTENERS[name])
            assert (bool(answer), version) == (True, "TLSv1.2")

    async def test_renewed_files_are_taken_and_broken_ones_are_not(self, name: str, tmp_path: Path) -> None:
        own, ours, theirs = make(tmp_path, "server"), make(tmp_path, "client"), make(tmp_path, "other")
        trusted = tmp_path / "trusted.pem"
        write(trusted, read(ours["cert_file"]))
        tls = {**own, "client_ca_file": str(trusted), "client_ca_file_reload": True, "reload_interval": "1ms"}
        first = client(name, own, ours)
        async with listening(name, tls) as port:
            assert (await talk(port, first, LISTENERS[name]))[0]
            assert not (await talk(port, client(name, own, theirs), LISTENERS[name]))[0]
            make(tmp_path, "server")
            write(trusted, read(theirs["cert_file"]))
            assert (await talk(port, client(name, own, theirs), LISTENERS[name]))[0]
            assert not (await talk(port, first, LISTENERS[name]))[0], "neither is our old certificate trusted"
            assert not (await talk(port, client(name, own, ours), LISTENERS[name]))[0], "nor are they let in any more"
            for broken in ("", "no key", read(theirs["key_file"])):  # that of another certificate
                write(own["key_file"], broken)
                assert (await talk(port, client(name, own, theirs), LISTENERS[name]))[0]

    @pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
    async def test_a_session_does_not_outlive_the_authorities_that_let_it_in(
        self, name: str, version: ssl.TLSVersion, tmp_path: Path
    ) -> None:
        own, ours, theirs = make(tmp_path, "server"), make(tmp_path, "client"), make(tmp_path, "other")
        trusted = tmp_path / "trusted.pem"
        write(trusted, read(ours["cert_file"]))
        context = client(name, own, ours)
        context.minimum_version = context.maximum_version = version

        def resumed(port: int, session: ssl.SSLSession | None) -> tuple[bytes, ssl.SSLSession | None]:
            with socket.create_connection(("127.0.0.1", port), 10) as plain:
                try:
                    with context.wrap_socket(plain, server_hostname="localhost", session=session) as wrapped:
                        wrapped.sendall(LISTENERS[name])
                        return wrapped.recv(64), wrapped.session
                except OSError:
                    return b"", None

        tls = {**own, "client_ca_file": str(trusted), "client_ca_file_reload": True}
        async with listening(name, tls) as port:
            answer, session = await asyncio.to_thread(resumed, port, None)
            assert answer
            write(trusted, read(theirs["cert_file"]))
            assert (await asyncio.to_thread(resumed, port, session))[0] == b""


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_FIRST_PAUSE", "_LONGEST_PAUSE"):
        monkeypatch.setattr(f"otel_tracead_exporters.otlp_grpc.channel.{name}", 0.02)


@asynccontextmanager
async def calling(name: str, port: int, tls: dict[str, Any]) -> AsyncIterator[None]:
    """Have a component connect to *port*, again and again."""
    factory = _factory(name)
    written = {**CALLERS[name](port), "tls": tls}
    if factory.kind is Kind.EXPORTER:
        written["retry_on_failure"] = {**FAST, "max_interval": "20ms"}
        written["timeout"] = "1s"
    settings = Settings(id="x", kind=factory.kind)
    component: Any = factory.build(factory.config.model_validate(written), settings, RecordingConsumer())
    component.drain_timeout = 0.01
    await component.start()
    try:
        if factory.kind is Kind.EXPORTER:
            await component.consume(Consignment(batch("a")))
        yield
    finally:
        await component.shutdown()


def server(own: dict[str, str], clients: dict[str, str] | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own["cert_file"], own["key_file"])
    context.set_alpn_protocols(["h2", "http/1.1"])
    if clients is not None:
        context.load_verify_locations(clients["cert_file"])
        context.verify_mode = ssl.CERT_OPTIONAL
    return context


def der(own: dict[str, str]) -> bytes:
    return ssl.PEM_cert_to_DER_cert(read(own["cert_file"]))


@pytest.mark.parametrize("name", CALLERS)
class TestCallers:
    """Whoever connects to others."""

    async def test_they_show_their_certificate_to_whom_they_trust(self, name: str, keys: dict) -> None:
        tls = {"ca_file": keys["server"]["cert_file"], **keys["client"]}
        async with Server(server(keys["server"], keys["client"])) as there, calling(name, there.port, tls):
            await until(lambda: bool(there.seen))
        version, shown = there.seen[0]
        assert (version, shown) == ("TLSv1.3", der(keys["client"]))

    async def test_they_say_nothing_to_anybody_else(self, name: str, keys: dict) -> None:
        tls = {"ca_file": keys["server"]["cert_file"]}

        async def heard(context: ssl.SSLContext | None) -> list[bytes]:
            async with Server(context) as there, calling(name, there.port, tls):
                await until(lambda: there.connections >= 2)
            return there.heard

        others = (None, server(keys["stranger"]), old(server(keys["server"])))
        plain, stranger, outdated = await asyncio.gather(*map(heard, others))
        assert all(said.startswith(b"\x16\x03") for said in plain), (
            "the first record of the handshake, and nothing else"
        )
        assert stranger == outdated == []

    async def test_no_certificate_is_no_authority(self, name: str, tmp_path: Path) -> None:
        (tmp_path / "empty.pem").touch()
        with pytest.raises(OSError, match="no certificate in it"):
            async with calling(name, 1, {"ca_file": str(tmp_path / "empty.pem")}):
                pass


@pytest.mark.parametrize("name", RENEWS)
async def test_renewed_certificates_are_shown_and_broken_ones_are_not(name: str, tmp_path: Path) -> None:
    here, own = make(tmp_path, "server"), make(tmp_path, "client")
    tls = {"ca_file": here["cert_file"], **own, "reload_interval": "1ms"}
    first = der(own)
    async with Server(server(here, own)) as there, calling(name, there.port, tls):
        await until(lambda: bool(there.seen))
        write(own["key_file"], "no key")
        count = len(there.seen)
        await until(lambda: len(there.seen) > count)
        assert {shown for _, shown in there.seen} == {first}, "what cannot be read leaves the old one"
        make(tmp_path, "client")
        there.context = server(here, own)
        second = der(own)
        await until(lambda: there.seen[-1][1] == second != first)
        # And the other way round: the server's, with the authority that they trust.
        make(tmp_path, "server")
        there.context = server(here, own)
        count = len(there.seen)
        await until(lambda: len(there.seen) > count)


@pytest.mark.parametrize("model", [ServerTls, ClientTls])
def test_an_encrypted_key_asks_nobody_for_its_password(model: type[Any], tmp_path: Path) -> None:
    own = make(tmp_path, "server")
    locked = tmp_path / "locked.key"
    command = ["openssl", "ec", "-in", own["key_file"], "-aes128", "-passout", "pass:planted", "-out", str(locked)]
    subprocess.run(command, check=True, capture_output=True)
    with pytest.raises(OSError, match="store it decrypted"):
        model.model_validate({**own, "key_file": str(locked)}).context()
    pem = {"cert_pem": read(own["cert_file"]), "key_pem": locked.read_text()}
    with pytest.raises(OSError, match="store it decrypted"):
        model.model_validate(pem).context()
