"""What a backend may answer, and what the reader makes of it; real ones are read in tests/peers/test_trace_stores.py."""

import gzip
import json
import socket
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from otel_tracead.cli import invoke
from otel_tracead.errors import InputError
from otel_tracead.trace_stores import store
from otel_tracead.trace_stores.address import parse_address
from otel_tracead.trace_stores.client import StoreClient
from otel_tracead.trace_stores.paging import Pages, TooMuch
from otel_tracead.trace_stores.store import TraceStore
from otel_tracead.traces.reading import read_traces

NOW = 1_700_000_000 * 10**9
Answer = tuple[int, bytes] | tuple[int, bytes, dict[str, str]] | None


class Backend:
    """An HTTP server on a port of its own that answers as a test says; None closes the connection without a word."""

    def __init__(self, answer: Callable[[str, dict[str, list[str]]], Answer]) -> None:
        self.asked: list[tuple[str, dict[str, list[str]]]] = []
        self.headers: list[dict[str, str]] = []
        backend = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                url = urlsplit(self.path)
                query = parse_qs(url.query)
                backend.asked.append((url.path, query))
                backend.headers.append(dict(self.headers))
                found = answer(url.path, query)
                if found is None:
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                status, body, *headers = found
                self.send_response(status)
                for name, value in (headers[0] if headers else {}).items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.place = f"127.0.0.1:{self._server.server_port}"

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def backend() -> Iterator[Callable[..., Backend]]:
    started: list[Backend] = []

    def start(answer: Callable[[str, dict[str, list[str]]], Answer]) -> Backend:
        started.append(Backend(answer))
        return started[-1]

    yield start
    for one in started:
        one.stop()


def zipkin_traces(*numbers: int, at: int = NOW) -> bytes:
    return json.dumps([[{"traceId": f"{n:032x}", "id": "1", "timestamp": at // 1000 - n}] for n in numbers]).encode()


def jaeger_traces(*numbers: int) -> bytes:
    return json.dumps(
        {
            "data": [
                {
                    "traceID": f"{number:x}",
                    "spans": [{"traceID": f"{number:x}", "spanID": "1", "processID": "p", "startTime": NOW // 1000}],
                    "processes": {"p": {"serviceName": "a"}},
                }
                for number in numbers
            ]
        }
    ).encode()


def read(address: str, waits: list[float] | None = None) -> list[str]:
    source = TraceStore(parse_address(address, NOW), wait=(waits if waits is not None else []).append)
    return [trace.trace_id.hex().lstrip("0") for trace in read_traces([source])]


def one_after_the_other(*answers: Answer) -> Callable[..., Answer]:
    waiting = list(answers)
    return lambda *_: waiting.pop(0) if len(waiting) > 1 else waiting[0]


def test_what_passes_is_asked_for_again(backend) -> None:
    answers = ((503, b"busy"), (429, b"", {"Retry-After": "7"}), (500, b""), None, None, (200, zipkin_traces(1, 2)))
    server = backend(one_after_the_other(*answers))
    waits: list[float] = []
    assert read(f"zipkin+http://{server.place}", waits) == ["1", "2"]
    assert waits[:3] == [0.5, 7.0, 2.0]
    assert len(server.asked) == len(answers)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((500, b'{"data":null,"errors":[{"code":500,"msg":"disk\\nfull"}]}'), "500 Internal Server Error: disk full"),
        ((502, b"<html>nginx</html>"), r"502 Bad Gateway \(tried 5 times\)"),
        (None, r"the connection failed: .* \(tried 5 times\)"),
    ],
)
def test_what_does_not_pass_is_said_in_the_end(answer, said, backend) -> None:
    server = backend(lambda *_: answer)
    with pytest.raises(InputError, match=rf"^zipkin\+http://{server.place}: .*{said}"):
        read(f"zipkin+http://{server.place}")
    assert len(server.asked) >= 5  # aiohttp asks once more by itself where the server hung up


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (
            (404, b"no route"),
            "answers /api/v2/traces with 404 Not Found: no route; does it run, and is this the address",
        ),
        ((400, b"lookback <= 0"), "400 Bad Request: lookback <= 0"),
        ((401, b""), "401 Unauthorized; write user and password"),
        ((403, b""), "403 Forbidden; may this user"),
        ((302, b"", {"Location": "https://login/\x01?next=a"}), "302 Found, and sends on to https://login/"),
        ((200, b"<!doctype html>"), "is no JSON; does it run"),
        ((200, b'{"data":[]}'), "is not what Zipkin answers; is it another backend?"),
        ((200, b"[[3]]"), "is not what Zipkin answers"),
        ((200, b'[[{"traceId":"1"}]]'), "a trace that cannot be read: .*id: missing"),
        ((200, b'[[{"traceId":"1","id":"1","timestamp":"x"}]]'), "is not what Zipkin answers"),
    ],
)
def test_what_cannot_pass_is_said_at_once(answer, said, backend) -> None:
    server = backend(lambda *_: answer)
    with pytest.raises(InputError, match=said):
        read(f"zipkin+http://me:secret@{server.place}?limit=3")
    assert len(server.asked) == 1


def test_nobody_is_there() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, and nobody listens
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(
            InputError, match=rf"^jaeger\+http://{place}: cannot be reached .*; does it run, and is this"
        ):
            read(f"jaeger+http://me:secret@{place}")


def test_user_and_password_go_to_the_backend_only(backend, monkeypatch, tmp_path) -> None:
    server = backend(lambda *_: (200, zipkin_traces(1)))
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login known password before\n")
    for netrc in (tmp_path / "none", tmp_path / "netrc"):
        monkeypatch.setenv("NETRC", str(netrc))
        assert read(f"zipkin+http://me:se%20c%2Fr%C3%A9t€@{server.place}/prefix") == ["1"]
        assert server.headers[-1]["Authorization"] == f"Basic {b64encode('me:se c/rét€'.encode()).decode()}"
    assert server.asked[0][0] == "/prefix/api/v2/traces"
    assert read(f"zipkin+http://{server.place}") == ["1"]
    assert server.headers[-1]["Authorization"] == f"Basic {b64encode(b'known:before').decode()}"


def test_what_zipkin_is_asked(backend) -> None:
    server = backend(one_after_the_other((200, b'["other","shop"]'), (200, zipkin_traces(1))))
    end = NOW // 10**6
    read(f"zipkin+http://{server.place}?serviceName=Shop&start={end - 5}&end={end}&annotationQuery=error&limit=9")
    services, (path, query), *_ = server.asked
    assert services[0] == "/api/v2/services"
    assert path == "/api/v2/traces"
    assert {key: value[0] for key, value in query.items()} == {
        "serviceName": "shop",
        "endTs": str(end),
        "lookback": "5",
        "limit": "9",
        "annotationQuery": "error",
    }


def test_what_jaeger_is_asked(backend) -> None:
    def answer(path: str, query: dict[str, list[str]]) -> Answer:
        if path == "/api/services":
            return 200, b'{"data":["b","a"]}'
        return 200, jaeger_traces(1, 2) if query["service"] == ["a"] else b'{"data":null}'

    server = backend(answer)
    assert read(f"jaeger+http://{server.place}?lookback=1s&tag=error:true&limit=5") == ["1", "2"]
    assert [query.get("service") for _, query in server.asked] == [None, ["a"], ["b"]]
    assert {key: value[0] for key, value in server.asked[1][1].items()} == {
        "service": "a",
        "start": str(NOW // 1000 - 10**6),
        "end": str(NOW // 1000),
        "limit": "5",
        "raw": "true",
        "tag": "error:true",
    }


def test_a_service_that_is_not_listed_any_more_is_read_all_the_same(backend) -> None:
    def answer(path: str, query: dict[str, list[str]]) -> Answer:
        if path == "/api/services":
            return 200, b'{"data":["a"]}'
        return 200, jaeger_traces(1) if query["service"] == ["old"] else b'{"data":[]}'

    server = backend(answer)
    assert read(f"jaeger+http://{server.place}?service=old") == ["1"]
    with pytest.raises(InputError, match=r"no service 'none'; there are: a$"):
        read(f"jaeger+http://{server.place}?service=none")


def test_an_empty_jaeger_says_so(backend) -> None:
    server = backend(lambda *_: (200, b'{"data":null}'))
    with pytest.raises(InputError, match="knows no service yet"):
        read(f"jaeger+http://{server.place}")


def test_more_at_one_moment_than_an_answer_holds(backend, monkeypatch) -> None:
    def answer(_path: str, query: dict[str, list[str]]) -> Answer:
        return 200, zipkin_traces(*range(int(query["limit"][0])), at=NOW)

    monkeypatch.setattr(store, "Pages", partial(Pages, most=50))
    server = backend(answer)
    with pytest.raises(InputError, match=r"that began at .* are more than one answer can hold; narrow the search"):
        read(f"zipkin+http://{server.place}?lookback=1ms&limit=9")


def test_answers_are_bounded_whatever_they_are_compressed_to(backend) -> None:
    body = gzip.compress(b"[" + b" " * (64 << 20) + b"]")
    server = backend(lambda *_: (200, body, {"Content-Encoding": "gzip"}))
    with (
        StoreClient(f"http://{server.place}", None, "", name="bomb", largest=1 << 20) as client,
        pytest.raises(TooMuch),
    ):
        client.get("/api/v2/traces")


def ran(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    code = invoke([str(one) for one in arguments])
    output = capsys.readouterr()
    assert output.out == ""
    return code, output.err


@pytest.mark.parametrize("command", ["train", "score", "check", "rank", "evaluate"])
def test_a_wrong_address_is_wrong_usage_and_repeats_no_secret(command, tiny_artifact, tmp_path, capsys) -> None:
    rest: tuple[Any, ...] = ("--output", tmp_path / "out.pb") if command in ("train", "score", "evaluate") else ()
    rest += ("--model", tiny_artifact) if command in ("score", "check", "rank") else ()
    code, err = ran(capsys, command, "--input", "zipkin+http://me:secret@host?servic=a", *rest)
    assert code == 2
    assert "zipkin+http://[REDACTED]@host?servic=a: unknown parameter 'servic'" in err
    assert "secret" not in err


def test_a_backend_that_refuses_is_1(backend, tiny_artifact, tmp_path, capsys) -> None:
    server = backend(lambda *_: (404, b""))
    url = f"zipkin+http://me:secret@{server.place}"
    code, err = ran(capsys, "score", "--model", tiny_artifact, "--input", url, "--output", tmp_path / "out.pb")
    assert code == 1
    assert err.startswith(f"Error: zipkin+http://{server.place}: answers /api/v2/traces with 404")
    assert list(tmp_path.iterdir()) == []
