"""Text that would do harm in a page that does not escape it, and a reader that finds out."""

from html.parser import HTMLParser

HOSTILE = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>{{ 7 * 7 }}\x00\u202e"

_VOID = {"meta", "br"}
_TAGS = {
    *("html", "head", "meta", "title", "style", "body", "section", "header", "div", "span", "p", "b", "i", "br", "em"),
    *("h1", "h2", "h3", "ul", "li", "table", "tr", "th", "td", "details", "summary", "code", "pre"),
    *("svg", "rect", "text", "g", "line", "path", "circle", "tspan"),
}


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in _TAGS, tag
        for name, value in attrs:
            assert not name.startswith("on"), name
            assert name not in {"src", "href", "xlink:href", "action", "srcset", "data"}, name
            assert "url(" not in (value or "")
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in {"style", "title"}:
            self.text.append(data)


def page_text(page: str) -> str:
    """Give the text of a page in plain spaces, after making sure that it is whole, loads nothing and runs nothing."""
    assert page.startswith("<!DOCTYPE html>")
    assert "default-src 'none'" in page
    assert "prefers-color-scheme: dark" in page
    assert "@import" not in page
    reader = _Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    return " ".join(" ".join(reader.text).split())
