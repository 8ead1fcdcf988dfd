from pathlib import Path
from typing import Any

import bcrypt
import pytest
import structlog

from otel_tracead.component import ClientAuthenticator, Kind, ServerAuthenticator, Settings
from otel_tracead.errors import ConfigError, Unauthenticated
from otel_tracead.extensions.basicauth import FACTORY, BasicAuthClient, BasicAuthConfig, BasicAuthServer
from otel_tracead.service.problems import validate


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def made(clock: Clock, **keys: object) -> tuple[Any, list[dict[str, Any]]]:
    config = validate(BasicAuthConfig, keys, ("extensions", "basicauth"))
    logs = structlog.testing.LogCapture()
    logger = structlog.wrap_logger(structlog.testing.ReturnLogger(), processors=[logs])
    settings = Settings(id="basicauth", kind=Kind.EXTENSION, logger=logger)
    if config.htpasswd is not None:
        return BasicAuthServer(config.htpasswd, settings, clock), logs.entries
    assert config.client_auth is not None
    return BasicAuthClient(config.client_auth, settings, clock), logs.entries


async def takes(extension: BasicAuthServer, value: str | None) -> bool:
    try:
        waiting = extension.authenticate({} if value is None else {"authorization": [value]})
        if waiting is not None:
            await waiting
    except Unauthenticated:
        return False
    return True


async def test_each_side_is_an_authenticator_of_its_own() -> None:
    settings = Settings(id="a", kind=Kind.EXTENSION)
    server = FACTORY.build(BasicAuthConfig.model_validate({"htpasswd": {"inline": "a:b"}}), settings, None)
    client = FACTORY.build(BasicAuthConfig.model_validate({"client_auth": {"username": "a"}}), settings, None)
    assert isinstance(server, ServerAuthenticator)
    assert not isinstance(server, ClientAuthenticator)
    assert isinstance(client, ClientAuthenticator)
    assert not isinstance(client, ServerAuthenticator)
    with pytest.raises(Unauthenticated):
        server.authenticate({"authorization": ["Basic YTpi"]})  # not started
    await server.shutdown()


async def test_only_the_right_pair_is_taken() -> None:
    extension, _ = made(Clock(), htpasswd={"inline": "a:b\nä:ö:ü\n"})
    await extension.start()
    for right in ("Basic YTpi", "basic YTpi", "BASIC YTpi", "Basic w6Q6w7Y6w7w="):
        assert await takes(extension, right), right
        assert await takes(extension, right), right
    for wrong in (
        *(None, "", "Basic", "Basic ", "YTpi", "Bearer YTpi", "Basic YTpj", "Basic YTo=", "Basic OmI=", "Basic Og=="),
        *("Basic YTpi YTpi", "Basic YTp", "Basic YT\npi", "Basic YQ==", "Basic \udcff", "Basic äöü"),
        "Basic " + "YTpi" * 10_000,
    ):
        assert not await takes(extension, wrong), wrong
    await extension.shutdown()
    await extension.shutdown()
    assert not await takes(extension, "Basic YTpi")


async def test_the_text_wins_over_the_file_and_the_file_is_read_again(tmp_path: Path) -> None:
    path, clock = tmp_path / "htpasswd", Clock()
    path.write_text("a:of-the-file\nb:" + bcrypt.hashpw(b"b", bcrypt.gensalt(4)).decode() + "\n")
    extension, logs = made(clock, htpasswd={"file": str(path), "inline": "a:b"})
    await extension.start()
    assert await takes(extension, "Basic YTpi")
    assert await takes(extension, "Basic Yjpi")
    path.write_text("c:planted-d\n")
    assert await takes(extension, "Basic Yjpi"), "the file is not looked at for every request"
    clock.seconds = 2
    assert not await takes(extension, "Basic Yjpi"), "what was found by the old list is forgotten"
    assert await takes(extension, "Basic YTpi")
    assert await takes(extension, "Basic YzpwbGFudGVkLWQ=")
    for number, content in enumerate((None, b"planted", b"\xff\xfe", b"c:$6$planted")):
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_bytes(content)
        clock.seconds = 4 + 2 * number
        assert await takes(extension, "Basic YzpwbGFudGVkLWQ="), "what cannot be read leaves the users as they were"
    said = repr(logs)
    assert said.count("users read again") == 1
    assert "cannot be read again" in said
    assert "planted" not in said
    await extension.shutdown()


async def test_credentials_of_files_are_read_again(tmp_path: Path) -> None:
    name, password, clock = tmp_path / "name", tmp_path / "password", Clock()
    name.write_text("a\n")
    password.write_text("b\n")
    keys = {"username": "x", "username_file": str(name), "password": "y", "password_file": str(password)}
    extension, logs = made(clock, client_auth=keys)
    await extension.start()
    assert extension.credentials() == {"authorization": "Basic YTpi"}
    password.write_text("planted")
    assert extension.credentials() == {"authorization": "Basic YTpi"}
    clock.seconds = 2
    assert extension.credentials() == {"authorization": "Basic YTpwbGFudGVk"}
    for number, content in enumerate(("a:planted", "", None)):
        name.unlink()
        if content is not None:
            name.write_text(content)
        clock.seconds = 4 + 2 * number
        assert extension.credentials() == {"authorization": "Basic YTpwbGFudGVk"}
        name.write_text("a")
    assert "planted" not in repr(logs)
    await extension.shutdown()


async def test_what_is_not_there_stops_the_start_and_the_check(tmp_path: Path) -> None:
    broken, settings = tmp_path / "broken", Settings(id="a", kind=Kind.EXTENSION)
    broken.write_text("a:b\nplanted\n")
    (tmp_path / "empty").write_text("\n")
    for keys, word in (
        ({"htpasswd": {"file": str(tmp_path / "none")}}, "htpasswd::file: .*none cannot be read"),
        ({"htpasswd": {"file": str(broken)}}, "htpasswd::file: .*broken: line 2: write name:password"),
        ({"htpasswd": {"file": str(tmp_path / "empty")}}, "no user"),
        ({"client_auth": {"username_file": str(tmp_path / "none")}}, "username_file: .*none cannot be read"),
        ({"client_auth": {"username": "a", "password_file": str(tmp_path / "empty")}}, "empty holds nothing"),
    ):
        extension, _ = made(Clock(), **keys)
        with pytest.raises((OSError, ValueError), match=word):
            await extension.start()
        (problem,) = FACTORY.check(BasicAuthConfig.model_validate(keys), settings)
        assert word.split()[-1] in problem
        assert "planted" not in problem


@pytest.mark.parametrize(
    ("written", "word"),
    [
        ({}, "no credential source provided"),
        ({"htpasswd": None}, "no credential source provided"),
        ({"htpasswd": {}}, "no credential source provided"),
        ({"htpasswd": {"inline": "\n"}}, "no credential source provided"),
        ({"htpasswd": {"inline": "a:b\n:"}}, "htpasswd::inline: line 2: write name:password"),
        ({"client_auth": {}}, "no credential source provided"),
        ({"client_auth": {"username": "a:b"}}, "must not contain a colon"),
        ({"client_auth": {"username": "a", "aws_secrets_manager": {"secret_arn": "x"}}}, "not in otel-tracead"),
        ({"htpasswd": {"inline": "a:b"}, "client_auth": {"username": "a"}}, "only one of"),
    ],
)
def test_what_is_wrong_is_said(written: dict, word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        validate(BasicAuthConfig, written, ("extensions", "basicauth"))


def test_no_password_is_printed() -> None:
    for written in ({"htpasswd": {"inline": "a:hunter2"}}, {"client_auth": {"username": "a", "password": "hunter2"}}):
        config = BasicAuthConfig.model_validate(written)
        assert "hunter" not in f"{config!r}{config.model_dump_json()}"
        assert "hunter2" in config.model_dump_json(context={"secrets": True})
