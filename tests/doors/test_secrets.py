"""Planted secrets are found nowhere: in no log, metric, health answer, error, printed configuration or crash."""

import asyncio
import base64
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import traceback
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any, Self, get_args

import aiohttp
import grpc.aio
import pytest
import yaml
from aiohttp import web
from pydantic import BaseModel

from otel_tracead.cli import invoke
from otel_tracead.component import ComponentConfig, Kind
from otel_tracead.redaction import Secret, secrets_of, without, without_secrets
from otel_tracead.service.registry import Registry
from otel_tracead.wire.otlp import encode_request
from tests.contract.exporter_contract import batch
from tests.contract.receiver_contract import until
from tests.doors.planted import configuration, secret
from tests.exporters.certificates import make
from tests.source_tree import ROOT
from tools.peers import free_port, guarded

EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "exporters")])}


# What of a planted secret stays the same in base64, alone and behind a name and a colon.
MARKS = ("planted-", "-----BEGIN PRIVATE", "-----BEGIN EC PRIVATE", "cGxhbnRlZC", "bWU6cGxhbnRlZC", "ZmlsZTpwbGFudGVkL")
FOUND = re.compile(f".{{0,60}}(?:{'|'.join(MARKS)}).{{0,40}}")


def leaks(text: str) -> list[str]:
    """Give what of the planted secrets stands in *text*, with what stands around it."""
    return FOUND.findall(text)


def private_fields(annotation: Any, info: Any, path: tuple[str, ...]) -> Iterator[str]:
    """Give the places of secrets in what *annotation* says."""
    if annotation is Secret or "_dumped_url" in repr(getattr(info, "metadata", ())) + repr(annotation):
        yield "::".join(path)
        return
    if isinstance(annotation, type) and issubclass(annotation, ComponentConfig):
        for name, inner in annotation.model_fields.items():
            yield from private_fields(inner.annotation, inner, (*path, name))
        return
    for inner in get_args(annotation):
        yield from private_fields(inner, None, path)


def planted_at(tree: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from planted_at(value, (*path, key))
    elif isinstance(tree, list):
        for value in tree:
            yield from planted_at(value, path)
    elif "planted" in str(tree).lower() or "-----BEGIN" in str(tree) or "@" in str(tree):
        yield path


def test_every_place_that_a_user_can_put_one_in_has_one(tmp_path: Path) -> None:
    registry = Registry()
    places = set()
    for kind in Kind:
        for name in registry.names(kind):
            factory = registry.find(kind, name)
            assert factory is not None
            places |= {(kind.value, name, place) for place in private_fields(factory.config, None, ())}
    # Two that are as a third, which has one; and a place where one is refused (see `EXPORTERS` below).
    places -= {("exporters", "otlp_http", f"{signal}_endpoint") for signal in ("logs", "profiles")}
    places -= {("exporters", "otlp_grpc", "endpoint")}
    tree = configuration(tmp_path, {"echo": 1, "grpc_echo": 2})
    planted = set()
    for kind, name, *rest in planted_at(tree):
        model = registry.find(Kind(kind), name.partition("/")[0])
        assert model is not None
        fields: list[str] = []
        config: Any = model.config
        for key in rest:  # what is below a field that is a map is its content
            if not (isinstance(config, type) and issubclass(config, BaseModel)):
                break
            fields.append(key)
            choices = (config.model_fields[key].annotation, *get_args(config.model_fields[key].annotation))
            config = next((one for one in choices if isinstance(one, type) and issubclass(one, BaseModel)), None)
        planted.add((kind, name.partition("/")[0], "::".join(fields)))
    assert places <= planted, places - planted


class Echo:
    """Backends that refuse everything, and repeat all that they were told."""

    def __init__(self) -> None:
        self.heard = 0

    async def http(self, request: web.Request) -> web.Response:
        self.heard += 1
        said = f"{request.method} {request.url} {dict(request.headers)}"
        if self.heard % 11 == 0 and request.path == "/v1/traces":
            partial = {"partialSuccess": {"rejectedSpans": "1", "errorMessage": said}}
            return web.json_response(partial)
        return web.Response(status=401 if self.heard % 7 == 0 else 503, text=said, reason="no")

    async def grpc(self, _request: bytes, context: Any) -> bytes:
        self.heard += 1
        said = repr(context.invocation_metadata())
        await context.abort(
            grpc.StatusCode.UNAUTHENTICATED if self.heard % 7 == 0 else grpc.StatusCode.UNAVAILABLE, said
        )
        raise AssertionError


@contextlib.asynccontextmanager
async def echoing(folder: Path) -> AsyncIterator[tuple[Echo, dict[str, int]]]:
    echo = Echo()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", echo.http)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    make(folder, "echo")
    server = grpc.aio.server()
    handler = grpc.method_handlers_generic_handler(
        EXPORT.split("/")[1], {"Export": grpc.unary_unary_rpc_method_handler(echo.grpc)}
    )
    server.add_generic_rpc_handlers((handler,))
    pair = (folder.joinpath("echo.key").read_bytes(), folder.joinpath("echo.pem").read_bytes())
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pair]))
    await server.start()
    try:
        yield echo, {"echo": runner.addresses[0][1], "grpc_echo": port}
    finally:
        await server.stop(None)
        await runner.cleanup()


class Stage:
    """The stage as a process; all that it says goes to a file, so that it never waits for who reads it.

    Args:
        config: where the configuration lies.
        environment: of the process.
    """

    def __init__(self, config: Path, environment: Mapping[str, str]) -> None:
        self._log = config.with_name("said")
        command = [sys.executable, "-X", "dev", "-W", "ignore", "-m", "otel_tracead", "--debug"]
        with self._log.open("wb") as log:
            self.process = guarded(
                subprocess.Popen(
                    [*command, "run", "--config", str(config)], stdout=log, stderr=subprocess.STDOUT, env=environment
                )
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    @property
    def said(self) -> str:
        """All that it has said."""
        return self._log.read_text(errors="replace")

    async def until(self, *words: str, times: int = 1) -> None:
        """Wait until it has said each of *words* so many times."""
        async with asyncio.timeout(30):
            while not all(self.said.count(word) >= times for word in words):
                assert self.process.poll() is None, self.said
                await asyncio.sleep(0.02)

    async def end(self) -> None:
        """Have it end at once, by two signals."""
        self.process.terminate()
        await self.until("draining and stopping")
        self.process.terminate()
        await asyncio.to_thread(self.process.wait, 30)

    def ports(self, component: str) -> dict[str, int]:
        lines = [json.loads(line) for line in self.said.splitlines() if '"msg"' in line]
        return next(
            line for line in lines if line.get("otelcol.component.id") == component and "listens" in line["msg"]
        )


async def test_a_stage_says_none_while_everything_goes_wrong(tmp_path: Path) -> None:
    async with echoing(tmp_path) as (echo, ports):
        tree = configuration(tmp_path, ports)
        metrics = free_port()
        tree["service"]["telemetry"]["metrics"]["address"] = f"127.0.0.1:{metrics}"
        path = tmp_path / "config.yaml"
        path.write_text(yaml.safe_dump(tree))
        environment = {
            **ENVIRONMENT,
            "PLANTED": secret("environment"),
            "http_proxy": f"http://me:{secret('env')}@127.0.0.1:1",
        }
        environment["no_proxy"] = "127.0.0.1"
        with Stage(path, environment) as stage:
            await stage.until("everything is ready")
            right = (tmp_path / "htpasswd").read_bytes().strip()
            answers = await senders(stage, right)
            await stage.until("otlp_http/query", "otlp_grpc", "kafka/older")
            await until(lambda: echo.heard >= 12)
            health = stage.ports("health_check")["port"]
            async with aiohttp.ClientSession() as session:
                for url in (f"http://127.0.0.1:{health}/status?verbose", f"http://127.0.0.1:{metrics}/metrics"):
                    async with session.get(url) as response:
                        answers.append(await response.text())
            assert "StatusPermanentError" in answers[-2] or "StatusRecoverableError" in answers[-2]
            assert 'exporter="otlp_http/query"' in answers[-1]
            broken = ("a: *planted-alias", f"exporters: {{otlp_http: {{endpoint: 'x://me:{secret('reload')}@h'}}}}")
            for times, text in enumerate(broken, 1):
                path.write_text(text)
                stage.process.send_signal(signal.SIGHUP)
                await stage.until("the new configuration is not valid", times=times)
            for name, content in (("tokens", b"\xffplanted-x"), ("htpasswd", b"planted-x"), ("password", b"")):
                (tmp_path / name).write_bytes(content)
            answers += await senders(stage, right)
            await stage.end()
            said = stage.said
    assert leaks(said) == []
    assert leaks("\n".join([*answers, *contents(tmp_path / "record")])) == []


def contents(folder: Path) -> list[str]:
    """Give what the files in *folder* hold, at any depth."""
    return [file.read_bytes().decode(errors="replace") for file in folder.rglob("*") if file.is_file()]


async def senders(stage: Stage, right: bytes) -> list[str]:
    """Send spans with wrong credentials and the *right* ones, and give every answer."""
    answers = []
    otlp, plain, zipkin = stage.ports("otlp"), stage.ports("otlp/plain")["http"], stage.ports("zipkin")["http"]
    body = encode_request(batch("a", "b"))
    guesses: list[Mapping[str, str]] = [
        {},
        {"Authorization": f"Basic {base64.b64encode(b'me:planted-guess').decode()}"},
    ]
    guesses += [{"Authorization": "Bearer planted-guess"}, {"Authorization": "planted-guess"}]
    guesses += [{"Authorization": f"Basic {base64.b64encode(right).decode()}"}]
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=False)) as session:
        for url in (
            f"https://127.0.0.1:{otlp['http']}/v1/traces",
            f"https://127.0.0.1:{zipkin}/api/v2/spans",
            f"http://127.0.0.1:{plain}/v1/traces",
        ):
            for headers in guesses:
                given = {"Content-Type": "application/x-protobuf", **headers}
                async with session.post(url, data=body, headers=given) as response:
                    answers.append((await response.read()).decode(errors="replace"))
    return answers


def test_no_printed_configuration_holds_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "config.yaml"
    tree = configuration(tmp_path, {"echo": 1, "grpc_echo": 2})
    path.write_text(yaml.safe_dump(tree))
    for form in ("yaml", "json"):
        assert invoke(["print-config", "--config", str(path), "--format", form]) == 0
        printed, err = capsys.readouterr()
        assert leaks(printed + err) == []
        assert printed.count("[REDACTED]") > 30
    assert invoke(["print-config", "--config", str(path), "--mode", "unredacted"]) == 0
    written = capsys.readouterr().out
    missing = [text for text in planted_texts(tree) if text not in written]
    assert missing == []


def planted_texts(tree: Any) -> Iterator[str]:
    if isinstance(tree, dict):
        for value in tree.values():
            yield from planted_texts(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from planted_texts(value)
    elif (found := re.search(r"planted-[a-z-]+[0-9]+", str(tree))) is not None:
        yield found[0]


EXTENSION = (
    "receivers: {otlp: {protocols: {http: }}}\nexporters: {debug: }\nextensions: {%s}\nservice: {extensions: [%s]}"
)
BROKEN = [
    "bearertokenauth: {token: [planted-1]}",
    "bearertokenauth: {token: {planted-1: planted-2}}",
    "bearertokenauth: {token: planted-1, tokens: [planted-2]}",
    "bearertokenauth: {token: planted-1, header: 'a b'}",
    "bearertokenauth: {tokens: planted-1}",
    "basicauth: {htpasswd: {inline: planted-1}}",
    "basicauth: {htpasswd: {inline: 'me:$2y$planted-1'}}",
    "basicauth: {htpasswd: planted-1}",
    "basicauth: {client_auth: {username: 'a:b', password: planted-1}}",
    "basicauth: {client_auth: {username: a, password: 5}, htpasswd: {inline: 'a:planted-1'}}",
    "bearertokenauth: {token: *planted-1}",
    "bearertokenauth: {token: !planted-1 x}",
    "bearertokenauth: {token: &planted-1 x, header: &planted-1 x}",
    "bearertokenauth: {token: planted-1: x}",
    "bearertokenauth: {token: 'planted-1}",
    'bearertokenauth: {token: "planted-1\\p"}',
    "bearertokenauth: {token: @planted-1}",
    "bearertokenauth: {token: %planted-1}",
    "bearertokenauth: {token: `planted-1}",
]
EXPORTERS = [
    "otlp_http: {endpoint: 'me:planted-1@host'}",
    "otlp_http: {endpoint: 'ftp://me:planted-1@host/x?planted-2'}",
    "otlp_http: {endpoint: 'http://me:planted-1@host:x'}",
    "otlp_http: {endpoint: 'http://host', proxy_url: 'socks5://me:planted-1@host'}",
    "otlp_http: {endpoint: 'http://host', headers: [planted-1]}",
    "otlp_http: {endpoint: 'http://host', headers: planted-1}",
    "otlp_http: {endpoint: 'http://host', headers: {a: [planted-1]}}",
    "otlp_http: {endpoint: 'http://host', headers: [{name: a, value: planted-1}, {name: a, value: planted-2}]}",
    "otlp_grpc: {endpoint: 'https://me:planted-1@host'}",
    "otlp_grpc: {endpoint: 'dns://planted-1@x/host:1'}",
    "otlp_grpc: {endpoint: 'host:1', tls: {key_pem: planted-1}}",
    "otlp_grpc: {endpoint: 'host:1', tls: {key_pem: planted-1, key_file: x, cert_pem: x}}",
    "zipkin: {endpoint: 'me:planted-1@host'}",
    "kafka: {auth: {sasl: {username: a, password: planted-1, mechanism: x}}}",
    "kafka: {auth: {sasl: {username: a, password: [planted-1], mechanism: PLAIN}}}",
    "kafka: {auth: {sasl: {username: a, password: planted-1, mechanism: PLAIN}, plain_text: {username: a, password: planted-1}}}",
    "sdk: {exporter: nothing, arguments: {x: planted-1}}",
    "sdk: {exporter: otlp_proto_http, arguments: {nothing: planted-1}}",
    "sdk: {exporter: otlp_proto_http, arguments: planted-1}",
    "file: {path: x, headers: planted-1}",
]
WHOLE = "receivers: {otlp: {protocols: {http: }}}\nexporters: {%s}\nservice: {pipelines: {traces: {receivers: [otlp], exporters: [%s]}}}"


@pytest.mark.parametrize("debug", [False, True])
def test_no_refused_configuration_is_quoted(debug: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    texts = [EXTENSION % (text, text.partition(":")[0]) for text in BROKEN]
    texts += [WHOLE % (text, text.partition(":")[0]) for text in EXPORTERS]
    for text in texts:
        path = tmp_path / "config.yaml"
        path.write_text(text)
        try:
            code = invoke([*(["--debug"] if debug else []), "validate", "--config", str(path)])
            said = ""
        except Exception:  # noqa: BLE001 (a traceback is asked for)
            code, said = 1, traceback.format_exc()
        out, err = capsys.readouterr()
        assert code == 1, text
        assert leaks(said + out + err) == [], text


@pytest.mark.parametrize(
    "arguments",
    [
        ("--set", "extensions.bearertokenauth.token:planted-1"),
        ("--set", "extensions.bearertokenauth.token planted-1"),
        ("--set", "=planted-1"),
        ("--set", "extensions.bearertokenauth={token: planted-1"),
        ("--config", "yaml:extensions::bearertokenauth::token:planted-1"),
        ("--config", "yaml:extensions::bearertokenauth::token: [planted-1"),
        ("--config", "https://me:planted-1@host/config.yaml"),
    ],
)
def test_no_refused_argument_is_quoted(arguments: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["print-config", *arguments]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert leaks(err) == []


def test_urls_print_without_what_is_private() -> None:
    assert without_secrets("https://me:p@ss@host:1/x?k=v") == "https://[REDACTED]@host:1/x?[REDACTED]"
    assert without_secrets("me:secret@host") == "[REDACTED]@host"
    assert without_secrets("http://localhost:4318/v1") == "http://localhost:4318/v1"
    said = secrets_of(["Bearer abcdefgh", "short"], "http://me:p%40ssword@h/?key=0123456")
    text = without("short abcdefgh p%40ssword p@ssword 0123456 key=0123456 Bearer abcdefgh", said)
    assert text == "short " + " ".join(["[REDACTED]"] * 6)
