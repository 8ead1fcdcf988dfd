"""Cross-origin requests, as browsers ask and as the Collector answers."""

import aiohttp
import pytest

from otel_tracead.component import Kind, Settings
from otel_tracead.receivers.cors import Cors
from otel_tracead.receivers.http_config import CorsConfig
from otel_tracead.receivers.otlp import FACTORY
from otel_tracead.testing import RecordingConsumer

ORIGIN = "Access-Control-Allow-Origin"


def cors(*origins: str, **keys: object) -> Cors:
    return Cors(CorsConfig.model_validate({"allowed_origins": list(origins), **keys}))


@pytest.mark.parametrize(
    ("allowed", "origin", "answer"),
    [
        ("https://shop.example", "https://shop.example", "https://shop.example"),
        ("https://shop.example", "https://Shop.Example", "https://Shop.Example"),
        ("https://shop.example", "https://shop.example.evil", None),
        ("https://*.example", "https://a.b.example", "https://a.b.example"),
        ("https://*.example", "http://a.example", None),
        ("https://*", "https://anything:8080", "https://anything:8080"),
        ("https://a+b", "https://aab", None),
        ("*", "null", "*"),
        ("*", "", None),
    ],
)
def test_which_origins_may(allowed: str, origin: str, answer: str | None) -> None:
    given = cors(allowed).answer({"Origin": origin})
    assert given.get(ORIGIN) == answer
    assert given["Vary"] == "Origin"
    assert ("Access-Control-Allow-Credentials" in given) == (answer is not None)


def ask(one: Cors, method: str = "POST", headers: str = "content-type", origin: str = "https://a") -> dict[str, str]:
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": headers,
    }
    given = one.preflight("OPTIONS", asked)
    assert given is not None
    return given


def test_what_a_browser_may_send() -> None:
    assert ask(cors("https://a"))["Access-Control-Allow-Headers"] == "content-type"
    assert ORIGIN not in ask(cors("https://a"), method="DELETE")
    assert ORIGIN not in ask(cors("https://a"), headers="content-type,x-tenant")
    assert ORIGIN in ask(
        cors("https://a", allowed_headers=["X-Tenant", "Content-Type"]), headers="content-type, x-tenant"
    )
    assert ORIGIN in ask(cors("https://a", allowed_headers=["*"]), headers="anything")
    assert ORIGIN not in ask(cors("https://a"), origin="https://b")
    assert "Access-Control-Max-Age" not in ask(cors("https://a"))
    assert ask(cors("https://a", max_age=600))["Access-Control-Max-Age"] == "600"
    assert ask(cors("https://a", max_age=-1))["Access-Control-Max-Age"] == "0"


def test_other_requests_are_no_question() -> None:
    assert cors("*").preflight("OPTIONS", {"Origin": "https://a"}) is None
    assert cors("*").preflight("POST", {"Access-Control-Request-Method": "POST"}) is None
    assert cors("*", exposed_headers=["Retry-After"]).answer({"Origin": "x"})["Access-Control-Expose-Headers"] == (
        "Retry-After"
    )


async def test_over_a_real_socket() -> None:
    keys = {
        "endpoint": "127.0.0.1:0",
        "cors": {"allowed_origins": ["https://shop.example"]},
        "response_headers": {"X-Served-By": "us"},
        "keep_alives_enabled": False,
    }
    config = FACTORY.config.model_validate({"protocols": {"http": keys}})
    receiver = FACTORY.build(config, Settings(id="otlp", kind=Kind.RECEIVER), RecordingConsumer())
    await receiver.start()
    url = f"http://127.0.0.1:{receiver.ports['http']}/v1/traces"  # type: ignore[attr-defined]
    asked = {"Origin": "https://shop.example", "Access-Control-Request-Method": "POST"}
    async with aiohttp.ClientSession() as session:
        async with session.options(url, headers=asked) as response:
            assert (response.status, response.headers[ORIGIN]) == (204, "https://shop.example")
        async with session.post(url, json={}, headers={"Origin": "https://shop.example"}) as response:
            assert (response.status, response.headers[ORIGIN]) == (200, "https://shop.example")
            assert (response.headers["X-Served-By"], response.headers["Connection"]) == ("us", "close")
        async with session.post(url, data=b"x", headers={"Origin": "https://evil.example"}) as response:
            assert response.status == 415
            assert ORIGIN not in response.headers
    await receiver.shutdown()
