"""docs/queries.md: each query as it stands there, asked of the real servers; the answer is what the stage's own words say."""

import json
import re
import shlex
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.peers.end_to_end.chain import Seen, attributes

PAGE = (Path(__file__).parents[3] / "docs" / "queries.md").read_text(encoding="utf-8")
_ERROR = 2


def _section(title: str) -> str:
    return re.split(r"^## ", PAGE.split(f"\n## {title}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


def _table(section: str, last_column: str) -> list[list[str]]:
    """The cells in backquotes of the rows under the header that ends with *last_column*."""
    rows = section.split(f"`{last_column}` |\n", 1)[1].split("\n\n", 1)[0].splitlines()[1:]
    return [re.findall(r"`([^`]+)`", row) for row in rows]


def _commands(section: str, program: str) -> list[str]:
    blocks = re.findall(rf"^    ({program} (?:.*\\\n)*.*)$", section, re.MULTILINE)
    return [block.replace("\\\n", " ") for block in blocks]


ZIPKIN = [query for (query,) in _table(_section("Zipkin"), "annotationQuery")]
JAEGER = _table(_section("Jaeger"), "tags")
ZIPKIN_COMMANDS = _commands(_section("Zipkin"), "curl")
JAEGER_COMMANDS = _commands(_section("Jaeger"), "curl")
FILE_COMMANDS = _commands(_section("A file"), "jq")


def test_the_page_has_them() -> None:
    found = [ZIPKIN, JAEGER, ZIPKIN_COMMANDS, JAEGER_COMMANDS, FILE_COMMANDS]
    assert [len(one) for one in found] == [10, 8, 3, 2, 2]


# --- what an answer should be, from what the stage wrote --------------------------------------------------------------


@dataclass(frozen=True)
class Judged:
    """A span as the Collector behind the stage saw it."""

    trace: str
    service: str
    duration_us: float
    tags: dict[str, Any] = field(default_factory=dict)

    def has(self, key: str, text: str) -> bool:
        value = self.tags.get(key)
        if isinstance(value, bool):
            return text == str(value).lower()
        return value is not None and (
            text in ("", value) if isinstance(value, str) else text in ("", json.dumps(value))
        )


@pytest.fixture(scope="module")
def judged(seen: Seen) -> list[Judged]:
    found = []
    for request in seen.judged:
        for resource_spans in request.resource_spans:
            service = next(a.value.string_value for a in resource_spans.resource.attributes if a.key == "service.name")
            for span in (span for scope_spans in resource_spans.scope_spans for span in scope_spans.spans):
                # 0.0 is "0" in both backends, and what is whole has no point.
                tags = {
                    key: int(value) if isinstance(value, float) and value.is_integer() else value
                    for key, value in attributes(span).items()
                }
                if span.status.code == _ERROR:
                    tags["error"] = "true"
                duration = (span.end_time_unix_nano - span.start_time_unix_nano) / 1000
                found.append(Judged(span.trace_id.hex(), service, duration, tags))
    return found


def _in_zipkin(judged: list[Judged], query: str, service: str = "", min_duration: float = 0) -> set[str]:
    """Every term on some span of the trace, of *service* if there is one, and some span that lasts so long."""
    spans = [span for span in judged if service in ("", span.service)]
    found = {span.trace for span in spans if span.duration_us >= min_duration}
    for term in query.split(" and "):
        key, _, text = term.partition("=")
        # A Zipkin `error` may say anything.
        found &= {span.trace for span in spans if span.has(key, text) or (term in span.tags)}
    return found


def _in_jaeger(judged: list[Judged], service: str, tags: dict[str, str], min_ms: float = 0) -> set[str]:
    """All tags on one span of the service, and that lasts so long."""
    return {
        span.trace
        for span in judged
        if span.service == service
        and span.duration_us >= min_ms * 1000
        and all(span.has(key, text) for key, text in tags.items())
    }


def _milliseconds(text: str) -> float:
    return float(text.removesuffix("ms"))


# --- the queries ------------------------------------------------------------------------------------------------------


def _ids(traces: list[list[dict[str, Any]]]) -> set[str]:
    return {trace[0]["traceId"] for trace in traces}


@pytest.mark.peers
@pytest.mark.parametrize("query", ZIPKIN)
def test_zipkin_answers(seen: Seen, judged: list[Judged], query: str) -> None:
    expected = _in_zipkin(judged, query)
    found = seen.zipkin_with_keys.search({"annotationQuery": query, "lookback": 3_600_000, "limit": 100_000})
    assert expected
    assert _ids(found) == expected


@pytest.mark.peers
@pytest.mark.parametrize(("service", "tags"), JAEGER)
def test_jaeger_answers(seen: Seen, judged: list[Judged], service: str, tags: str) -> None:
    asked = json.loads(tags)
    expected = _in_jaeger(judged, service, asked)
    assert expected
    assert {trace["traceID"] for trace in seen.jaeger.search(service, asked, limit=100_000)} == expected


@pytest.fixture
def run(tmp_path: Path) -> Callable[[str], str]:
    def run(command: str) -> str:
        program = shlex.split(command)[0]
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}")
        done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout

    return run


def _parameters(command: str) -> dict[str, str]:
    words = shlex.split(command)
    given = [words[place + 1] for place, word in enumerate(words) if word in ("-d", "--data-urlencode")]
    return dict(one.split("=", 1) for one in given)


@pytest.mark.peers
@pytest.mark.parametrize("command", ZIPKIN_COMMANDS)
def test_zipkin_answers_curl(seen: Seen, judged: list[Judged], run: Callable[[str], str], command: str) -> None:
    asked = _parameters(command)
    expected = _in_zipkin(
        judged, asked["annotationQuery"], asked.get("serviceName", ""), float(asked.get("minDuration", 0))
    )
    found = _ids(json.loads(run(command.replace("http://localhost:9411", seen.zipkin_with_keys.url))))
    assert expected
    assert found <= expected
    assert len(found) == min(len(expected), int(asked.get("limit", 10)))


@pytest.mark.peers
@pytest.mark.parametrize("command", JAEGER_COMMANDS)
def test_jaeger_answers_curl(seen: Seen, judged: list[Judged], run: Callable[[str], str], command: str) -> None:
    asked = _parameters(command)
    expected = _in_jaeger(
        judged, asked["service"], json.loads(asked["tags"]), _milliseconds(asked.get("minDuration", "0ms"))
    )
    answer = json.loads(run(command.replace("http://localhost:16686", seen.jaeger.url)))
    assert expected
    assert {trace["traceID"] for trace in answer["data"]} == expected


@pytest.mark.peers
def test_files_answer(seen: Seen, run: Callable[[str], str], tmp_path: Path) -> None:
    shutil.copy(seen.file, tmp_path / "traces.jsonl")
    strong, strongest = (run(command).splitlines() for command in FILE_COMMANDS)
    spans = [span for request in seen.judged for r in request.resource_spans for s in r.scope_spans for span in s.spans]
    high = {span.span_id.hex() for span in spans if attributes(span).get("tracead.anomaly.level") == "high"}
    assert {json.loads(line)["spanId"] for line in strong} == high
    scores = sorted((attributes(span).get("tracead.trace.score", -1.0) for span in spans), reverse=True)
    assert [json.loads(line)[0] for line in strongest] == scores[:10]


# --- what the page says does not work ---------------------------------------------------------------------------------


@pytest.mark.peers
def test_zipkin_compares_whole_texts(seen: Seen, judged: list[Judged]) -> None:
    def found(query: str) -> set[str]:
        answer = seen.zipkin_with_keys.search({"annotationQuery": query, "lookback": 3_600_000, "limit": 100_000})
        return _ids(answer)

    score = _a_score(judged)
    assert found(f"tracead.anomaly.score={score}")
    assert not found(f"tracead.anomaly.score={score}0")
    assert not found("tracead.anomaly.score>2")
    assert not found("tracead.anomaly.level=hi")
    assert not found("tracead.anomaly.level=HIGH")
    low, high = "tracead.anomaly.level=low", "tracead.anomaly.level=high"
    assert found(f"{low} and {high}") == found(high) != found(low)


@pytest.mark.peers
def test_jaeger_compares_whole_texts(seen: Seen, judged: list[Judged]) -> None:
    score = _a_score(judged)
    services = seen.jaeger.services()
    assert set(_everywhere(seen, services, {"tracead.anomaly.score": score}))
    assert not set(_everywhere(seen, services, {"tracead.anomaly.score": f"{score}0"}))
    missing = next(span.tags["tracead.trace.missing"] for span in judged if "tracead.trace.missing" in span.tags)
    whole = json.dumps(missing, separators=(",", ":"), ensure_ascii=False)
    assert set(_everywhere(seen, services, {"tracead.trace.missing": whole}))
    assert not set(_everywhere(seen, services, {"tracead.trace.missing": missing[0]}))
    assert not set(_everywhere(seen, services, {"error": "true"}))


@pytest.mark.peers
@pytest.mark.parametrize(
    "parameters", [{"service": "frontend", "tags": '{"tracead.anomaly.detected":true}'}, {"tags": '{"a":"b"}'}]
)
def test_jaeger_refuses(seen: Seen, parameters: dict[str, str]) -> None:
    with pytest.raises(urllib.error.HTTPError, match="400"):
        urllib.request.urlopen(f"{seen.jaeger.url}/api/traces?{urlencode(parameters)}", timeout=60)


def _a_score(judged: list[Judged]) -> str:
    return str(
        next(span.tags["tracead.anomaly.score"] for span in judged if span.tags.get("tracead.anomaly.score", 0) % 1)
    )


def _everywhere(seen: Seen, services: list[str], tags: dict[str, str]) -> Iterator[str]:
    for service in services:
        yield from (trace["traceID"] for trace in seen.jaeger.search(service, tags))
