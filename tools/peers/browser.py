"""Chromium without a window, driven by Playwright, and the way through Zipkin's page that a person takes.

Chromium is the system's (`apt-get install chromium`), or the one that `playwright install chromium` fetched.
"""

import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from tools.peers.process import Unavailable

if TYPE_CHECKING:
    from playwright.sync_api import Page

_PROGRAMS: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_PATIENCE_MS: Final = 30_000
_MINUTE_MS: Final = 60_000


def chromium() -> Path:
    """Give the browser's program.

    Raises:
        Unavailable: no Playwright, or no Chromium.
    """
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise Unavailable("needs Playwright: `pip install '.[browser]'`") from None
    for program in _PROGRAMS:
        if found := shutil.which(program):
            return Path(found)
    with sync_playwright() as playwright:
        own = Path(playwright.chromium.executable_path)
    if not own.exists():
        raise Unavailable("needs Chromium: `apt-get install chromium`, or `playwright install chromium`")
    return own


@contextmanager
def open_page(width: int = 1280, height: int = 760) -> Iterator["Page"]:
    """Open an empty page of so many pixels; the browser ends with it.

    Raises:
        Unavailable: no Playwright, or no Chromium.
    """
    program = chromium()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Chromium's sandbox does not run as root; what is opened here are servers of our own on this machine.
        browser = playwright.chromium.launch(executable_path=program, chromium_sandbox=os.geteuid() != 0)
        try:
            page = browser.new_page(viewport={"width": width, "height": height})
            page.set_default_timeout(_PATIENCE_MS)
            yield page
        finally:
            browser.close()


class ZipkinPage:
    """Zipkin's page (Lens 3.5) as a person uses it.

    Attributes:
        page: the browser's page.
        url: base URL of the server.
    """

    def __init__(self, page: "Page", url: str) -> None:
        self.page = page
        self.url = url

    def open_search(self, query: str, lookback: str = "1h") -> None:
        """Open the address of a search by tags (an `annotationQuery`), as somebody who follows a link."""
        end = int(time.time() * 1000) + _MINUTE_MS
        words = urlencode({"annotationQuery": query, "lookback": lookback, "endTs": end, "limit": 10})
        self.page.goto(f"{self.url}/zipkin/?{words}")
        self.page.wait_for_load_state("networkidle")

    def type_search(self, query: str) -> None:
        """Open the page and type a search by tags: the plus, `tagQuery`, the text, Enter, RUN QUERY."""
        self.page.goto(f"{self.url}/zipkin/")
        self.page.get_by_test_id("add-button").click()
        self.page.get_by_text("tagQuery", exact=True).click()
        self.page.keyboard.type(query)
        self.page.keyboard.press("Enter")
        self.page.keyboard.press("Escape")  # it offers a second criterion
        with self.page.expect_response(lambda answer: "/api/v2/traces?" in answer.url):
            self.page.get_by_role("button", name="Run Query").click()
        self.page.wait_for_load_state("networkidle")

    def results(self) -> list[str]:
        """Give what the page lists: of each trace found, the service and name of its root."""
        rows = self.page.get_by_role("row").filter(has=self.page.get_by_role("button", name="Show"))
        return [text.strip().splitlines()[0] for text in rows.all_inner_texts()]

    def open_result(self, number: int = 0) -> str:
        """Open one of the traces found, and give its id."""
        self.page.get_by_role("button", name="Show").nth(number).click()
        self.page.wait_for_url("**/zipkin/traces/*")
        self.page.wait_for_load_state("networkidle")
        return str(self.page.url).rpartition("/")[2]

    def choose_span(self, span_id: str, name: str) -> None:
        """Click on the row of a span; the page draws only the rows that fit into it.

        Raises:
            LookupError: no row that is drawn is this span's.
        """
        rows = self.page.get_by_text(re.compile(f"^[^:]+: {re.escape(name.lower())}$"))
        for number in range(rows.count()):
            rows.nth(number).click()
            if self.page.get_by_text(span_id, exact=True).count():
                return
        raise LookupError(f"no row of the span {span_id} ({name})")

    def tags(self) -> dict[str, str]:
        """Give the tags of the chosen span, as the page shows them: its last table."""
        rows = self.page.get_by_role("table").last.get_by_role("row").all_inner_texts()
        cells = [row.split("\t") for row in rows]
        return {row[0].strip(): row[1].strip() for row in cells if len(row) == 2}
