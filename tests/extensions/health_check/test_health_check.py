import socket
from typing import Any

import aiohttp
import pytest

from otel_tracead.component import Kind, PipelineWatcher, Settings
from otel_tracead.errors import ConfigError
from otel_tracead.extensions.health_check import FACTORY, HealthCheck, HealthCheckConfig
from otel_tracead.service.problems import validate


def extension(**keys: object) -> HealthCheck:
    config = validate(HealthCheckConfig, {"endpoint": "127.0.0.1:0", **keys}, ("extensions", "health_check"))
    built = FACTORY.build(config, Settings(id="health_check", kind=Kind.EXTENSION), None)
    assert isinstance(built, HealthCheck)
    assert isinstance(built, PipelineWatcher)
    return built


async def ask(health: HealthCheck, path: str = "/") -> tuple[int, Any]:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{health.port}{path}") as response:
        is_json = response.content_type == "application/json"
        return response.status, await (response.json() if is_json else response.text())


async def test_it_is_healthy_from_ready_to_not_ready() -> None:
    health = extension()
    await health.start()
    status, body = await ask(health)
    assert (status, body) == (503, {"status": "Server not available", "upSince": "0001-01-01T00:00:00Z", "uptime": ""})
    health.ready()
    status, body = await ask(health)
    assert (status, body["status"]) == (200, "Server available")
    assert body["upSince"].startswith("20")
    assert body["uptime"].endswith("s")
    health.not_ready()
    assert (await ask(health))[0] == 503
    await health.shutdown()
    await health.shutdown()


async def test_path_and_body_may_be_chosen() -> None:
    health = extension(path="/health", response_body={"healthy": "fine", "unhealthy": "not yet"})
    await health.start()
    assert await ask(health, "/health") == (503, "not yet")
    health.ready()
    assert await ask(health, "/health") == (200, "fine")
    assert (await ask(health))[0] == 404
    await health.shutdown()


@pytest.mark.parametrize(
    ("path", "asked", "answers"),
    [
        ("/", "/", True), ("/", "/anything/below", True), ("/health", "/health", True), ("/health", "/health/", False),
        ("/health", "/", False), ("/health/", "/health/", True), ("/health/", "/health/live", True),
    ],
)  # fmt: skip
async def test_paths_are_those_of_the_collectors_server(path: str, asked: str, answers: bool) -> None:
    health = extension(path=path)
    await health.start()
    assert (await ask(health, asked))[0] == (503 if answers else 404)
    await health.shutdown()


async def test_any_method_is_answered() -> None:
    health = extension()
    await health.start()
    async with aiohttp.ClientSession() as session:
        for method in ("GET", "HEAD", "POST", "PUT"):
            async with session.request(method, f"http://127.0.0.1:{health.port}/") as response:
                assert response.status == 503
    await health.shutdown()


def test_the_second_version_has_its_own_sections() -> None:
    for written in ({"use_v2": True}, {"http": {}}, {"component_health": {"include_permanent_errors": True}}):
        with pytest.raises(ConfigError, match="use_v2"):
            extension(**written)
    with pytest.raises(ConfigError, match="answers over HTTP"):
        extension(use_v2=True, http={}, grpc={"endpoint": "localhost:13132"})


async def test_a_port_in_use_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        health = extension(endpoint=f"127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(OSError, match="in use"):
            await health.start()
        await health.shutdown()


def test_the_path_starts_with_a_slash() -> None:
    with pytest.raises(ConfigError, match="extensions::health_check::path"):
        extension(path="health")


def test_the_default_is_the_collectors() -> None:
    assert str(HealthCheckConfig().endpoint) == "localhost:13133"
