"""docs/status-codes.md, read."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[3] / "docs" / "status-codes.md"


def table(heading: str, number: int = 0) -> dict[str, list[str]]:
    """Give the rows of a table by their first cell; *number* counts the tables below the heading."""
    text = PAGE.read_text(encoding="utf-8")
    section = re.split(r"^## ", text.split(f"## {heading}\n")[1], flags=re.MULTILINE)[0]
    blocks = re.findall(r"(?:^\|.*\n)+", section, re.MULTILINE)
    _, _, *rows = blocks[number].splitlines()
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    found = {first: rest for first, *rest in cells}
    assert len(found) == len(cells), "a row stands there twice"
    return found
