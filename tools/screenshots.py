"""`python -m tools.screenshots [FOLDER]`: takes the pictures of Zipkin's page again: the shop's faults through a real stage.

They go to docs/images/ as zipkin-search.png and zipkin-trace.png.
"""

import json
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from tools.peers import Process, free_port
from tools.peers.browser import ZipkinPage, open_page
from tools.peers.process import HOST, listening
from tools.peers.zipkin import Zipkin

_ROOT: Final = Path(__file__).parents[1]
_IMAGES: Final = _ROOT / "docs" / "images"
_HIGH: Final = "tracead.anomaly.level=high"
# As in docs/first-steps.md: for four seconds each, calls stall and calls are left out.
_FAULTS: Final = ("slow_edge:frontend>cart:20s:4s:100", "missing_call:frontend>currency:40s:4s")
_TRAFFIC: Final = ("--duration", "1m", *(word for fault in _FAULTS for word in ("--fault", fault)))
_ROWS: Final = 16  # spans that the page shows without scrolling


def take(url: str, folder: Path, query: str = _HIGH) -> str:
    """Type *query* into Zipkin's page at *url*, open a found trace, choose its marked span, and picture both pages.

    Returns:
        What the pictures show, in a line.

    Raises:
        LookupError: the search finds nothing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open_page() as page:
        zipkin = ZipkinPage(page, url)
        zipkin.type_search(query)
        results = zipkin.results()
        if not results:
            raise LookupError(f"{query} finds nothing in {url}")
        page.screenshot(path=folder / "zipkin-search.png")
        trace = _telling(url, query)
        page.goto(f"{url}/zipkin/traces/{trace[0]['traceId']}")
        page.wait_for_load_state("networkidle")
        marked = _marked(trace)
        zipkin.choose_span(marked["id"], marked["name"])
        page.get_by_text("Annotation", exact=True).click()  # folds it, so that the tags have room
        page.get_by_text("tracead.response_time.upper_ms", exact=True).or_(
            page.get_by_text("tracead.structure.rank", exact=True)
        ).first.scroll_into_view_if_needed()
        page.wait_for_load_state("networkidle")
        page.screenshot(path=folder / "zipkin-trace.png")
        tags = {key: value for key, value in zipkin.tags().items() if key.startswith("tracead.anomaly.")}
        return f"{len(results)} traces listed; the marked span of {trace[0]['traceId']} shows {tags}"


def _telling(url: str, query: str) -> list[dict[str, Any]]:
    """The trace to show: the longest whose marked span is a call that stalled, and that fits on the page."""
    words = urlencode({"annotationQuery": query, "lookback": 900_000, "limit": 100})
    with urllib.request.urlopen(f"{url}/api/v2/traces?{words}", timeout=30) as answer:
        found: list[list[dict[str, Any]]] = json.load(answer)
    stalled = [
        trace
        for trace in found
        if _tag(_marked(trace), "tracead.anomaly.type") == "response_time" and _marked(trace).get("kind") == "CLIENT"
    ]
    return max([trace for trace in stalled if len(trace) <= _ROWS] or stalled or found, key=len)


def _marked(trace: list[dict[str, Any]]) -> dict[str, Any]:
    return max(trace, key=lambda span: float(_tag(span, "tracead.anomaly.score") or -1))


def _tag(span: Mapping[str, Any], key: str) -> str | None:
    value: str | None = span.get("tags", {}).get(key)
    return value


def main() -> int:
    """Start Zipkin and a stage in front of it, send traffic with faults, take the pictures."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else _IMAGES
    command = [sys.executable, "-m", "otel_tracead"]
    inward, grpc = free_port(), free_port()
    with tempfile.TemporaryDirectory() as name, Zipkin(Path(name) / "zipkin.log") as zipkin:
        env = {
            "TRACEAD_ZIPKIN": f"{HOST}:{inward}",
            "TRACEAD_GRPC": f"{HOST}:{grpc}",
            "ZIPKIN_URL": f"{zipkin.url}/api/v2/spans",
            "TRACEAD_METRICS_PORT": str(free_port()),
            "TRACEAD_WAIT": "3s",
        }
        stage = Process(
            [*command, "run", "--config", _ROOT / "examples" / "zipkin.yaml"],
            log=Path(name) / "stage.log",
            ready=listening(inward, grpc),
            env=env,
        )
        with stage:
            subprocess.run([*command, "generate", "--endpoint", f"http://{HOST}:{grpc}", *_TRAFFIC], check=True)
            stage.stop()
        said = take(zipkin.url, folder)
    sys.stdout.write(f"{folder}: {said}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
