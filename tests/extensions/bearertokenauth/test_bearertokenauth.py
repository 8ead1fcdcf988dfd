from pathlib import Path
from typing import Any

import pytest
import structlog

from otel_tracead.component import ClientAuthenticator, Kind, ServerAuthenticator, Settings
from otel_tracead.errors import ConfigError, Unauthenticated
from otel_tracead.extensions.bearertokenauth import FACTORY, BearerTokenAuth, BearerTokenAuthConfig
from otel_tracead.service.problems import validate


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def made(clock: Clock | None = None, **keys: object) -> tuple[BearerTokenAuth, list[dict[str, Any]]]:
    config = validate(BearerTokenAuthConfig, keys, ("extensions", "bearertokenauth"))
    logs = structlog.testing.LogCapture()
    logger = structlog.wrap_logger(structlog.testing.ReturnLogger(), processors=[logs])
    settings = Settings(id="bearertokenauth", kind=Kind.EXTENSION, logger=logger)
    return BearerTokenAuth(config, settings, clock or Clock()), logs.entries


def takes(extension: BearerTokenAuth, value: str | None, header: str = "authorization") -> bool:
    refusal = ""
    try:
        extension.authenticate({} if value is None else {header: [value]})
    except Unauthenticated as error:
        refusal = str(error)
    assert not value or value.split()[-1] not in refusal
    return not refusal


def test_it_is_for_both_sides() -> None:
    built = FACTORY.build(BearerTokenAuthConfig(token="abc"), Settings(id="a", kind=Kind.EXTENSION), None)  # type: ignore[arg-type]
    assert isinstance(built, ServerAuthenticator)
    assert isinstance(built, ClientAuthenticator)


def test_only_the_whole_value_is_taken() -> None:
    extension, _ = made(token="secret")
    assert extension.credentials() == {"authorization": "Bearer secret"}
    assert takes(extension, "Bearer secret")
    for wrong in (
        None,
        "secret",
        "bearer secret",
        "Bearer secre",
        "Bearer secrets",
        "Basic secret",
        "Bearer \udcff",
    ):
        assert not takes(extension, wrong), wrong


def test_scheme_and_header_may_be_chosen() -> None:
    extension, _ = made(token="secret", scheme="", header="X-Api-Key")
    assert extension.credentials() == {"x-api-key": "secret"}
    assert takes(extension, "secret", "x-api-key")
    assert not takes(extension, "secret")


def test_of_several_tokens_any_is_taken_and_the_first_is_sent() -> None:
    extension, _ = made(tokens=["one", "two"])
    assert takes(extension, "Bearer one")
    assert takes(extension, "Bearer two")
    assert not takes(extension, "Bearer three")
    assert extension.credentials() == {"authorization": "Bearer one"}


async def test_a_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    path, clock = tmp_path / "tokens", Clock()
    path.write_text("one # of January\n\n  two\n")
    extension, logs = made(clock, filename=str(path), token="ignored")
    await extension.start()
    assert takes(extension, "Bearer one")
    assert takes(extension, "Bearer two")
    assert not takes(extension, "Bearer ignored")
    path.write_text("three\n")
    assert takes(extension, "Bearer one"), "the file is not looked at for every request"
    clock.seconds = 2
    assert takes(extension, "Bearer three")
    assert not takes(extension, "Bearer one")
    other = tmp_path / "other"  # as Kubernetes does it
    other.write_text("four!\n")
    other.replace(path)
    clock.seconds = 4
    assert extension.credentials() == {"authorization": "Bearer four!"}
    for number, content in enumerate((None, b"", b"\xff\xfe", b"x" * (1 << 20) + b"x")):
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_bytes(content)
        clock.seconds = 6 + 2 * number
        assert takes(extension, "Bearer four!")
    said = repr(logs)
    assert said.count("tokens read again") == 2
    assert "cannot be read again" in said
    assert not any(token in said for token in ("three", "four", "ignored", "January"))
    await extension.shutdown()


async def test_a_file_that_is_not_there_stops_the_start(tmp_path: Path) -> None:
    missing, empty = tmp_path / "none", tmp_path / "empty"
    empty.write_text("\n")
    settings = Settings(id="a", kind=Kind.EXTENSION)
    for path, word in ((missing, "cannot be read"), (empty, "holds no token")):
        extension, _ = made(filename=str(path))
        with pytest.raises((OSError, ValueError), match=word):
            await extension.start()
        (problem,) = FACTORY.check(BearerTokenAuthConfig(filename=path), settings)
        assert word in problem


@pytest.mark.parametrize(
    ("written", "word"),
    [
        ({}, "no bearer token provided"),
        ({"token": ""}, "no bearer token provided"),
        ({"token": "a", "tokens": ["b"]}, "either tokens or token should be provided, not both"),
        ({"token": "a", "header": "a b"}, "header"),
        ({"token": 5}, "must be a valid string, not an integer"),
    ],
)
def test_what_is_wrong_is_said(written: dict, word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        validate(BearerTokenAuthConfig, written, ("extensions", "bearertokenauth"))


def test_no_token_is_printed() -> None:
    config = BearerTokenAuthConfig.model_validate({"tokens": ["hunter2", "hunter3"]})
    assert "hunter" not in f"{config!r}{config.model_dump_json()}"
    assert config.model_dump(context={"secrets": True})["tokens"] == ("hunter2", "hunter3")
