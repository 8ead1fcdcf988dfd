"""The tables of docs/formats.md, as tests walk them."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs/formats.md"


def table(heading: str) -> dict[str, dict[str, str]]:
    """Give the first table under *heading*: by the cell in its first column, the others by the names of theirs."""
    head, *rows = cells(heading)
    return {row[0]: dict(zip(head[1:], row[1:], strict=True)) for row in rows}


def cells(heading: str) -> list[list[str]]:
    """Give the first table under *heading* cell by cell, its head first."""
    sections = re.split(r"^#+ ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    [section] = [section for section in sections if section.startswith(f"{heading}\n")]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    found = [[cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    return [row for row in found if not set("".join(row)) <= set("- :")]
