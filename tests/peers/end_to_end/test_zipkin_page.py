"""Zipkin's page in a real browser: a search finds an annotated trace, and its span shows what the stage wrote."""

from collections.abc import Iterator

import pytest

from tests.peers.end_to_end.chain import Seen
from tools.peers import Unavailable
from tools.peers.browser import ZipkinPage, open_page

pytestmark = pytest.mark.peers

HIGH = "tracead.anomaly.level=high"
_SEARCH = {"annotationQuery": HIGH, "limit": 100_000, "lookback": 3_600_000}


@pytest.fixture(scope="module")
def lens(seen: Seen) -> Iterator[ZipkinPage]:
    try:
        with open_page(height=2400) as page:  # tall: a long trace is drawn whole
            yield ZipkinPage(page, seen.zipkin.url)
    except Unavailable as missing:
        pytest.skip(str(missing))


@pytest.fixture
def lens_with_keys(lens: ZipkinPage, seen: Seen) -> ZipkinPage:
    return ZipkinPage(lens.page, seen.zipkin_with_keys.url)


def test_a_search_typed_by_hand_leads_to_the_marked_span(seen: Seen, lens: ZipkinPage) -> None:
    lens.type_search(HIGH)
    assert lens.results()
    _shows_the_mark(seen, lens)


def test_the_address_of_a_search_leads_to_the_marked_span(seen: Seen, lens: ZipkinPage) -> None:
    lens.open_search(HIGH)
    assert lens.results()
    _shows_the_mark(seen, lens)


def _shows_the_mark(seen: Seen, lens: ZipkinPage) -> None:
    trace = lens.open_result()
    found = next(one for one in seen.zipkin.search(_SEARCH) if one[0]["traceId"] == trace)
    marked = next(span for span in found if span.get("tags", {}).get("tracead.anomaly.level") == "high")
    lens.choose_span(marked["id"], marked["name"])
    assert _own(lens.tags()) == _own(marked["tags"])
    assert _own(lens.tags())["tracead.anomaly.detected"] == "true"


def _own(tags: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in tags.items() if key.startswith("tracead.")}


def test_without_a_time_the_address_of_a_search_runs_nothing(lens: ZipkinPage) -> None:
    lens.page.goto(f"{lens.url}/zipkin/?annotationQuery={HIGH}")
    lens.page.wait_for_load_state("networkidle")
    assert lens.results() == []


def test_with_autocomplete_keys_such_a_key_alone_finds_nothing(lens_with_keys: ZipkinPage) -> None:
    lens_with_keys.open_search(HIGH)
    assert lens_with_keys.results() == []
    lens_with_keys.type_search(HIGH)
    assert lens_with_keys.results() == []


def test_with_autocomplete_keys_another_term_helps(lens_with_keys: ZipkinPage) -> None:
    lens_with_keys.open_search(f"{HIGH} and tracead.anomaly.detected=true")
    assert lens_with_keys.results()
    lens_with_keys.type_search(f"{HIGH} and tracead.anomaly.detected=true")
    assert lens_with_keys.results()
