"""A Collector user's YAML with our processor put in: it works as it is, or each thing that is not here is named, and nothing else.

What is expected stands in comments of each file in testdata/: `problems` and `warnings`, all of them.
"""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from otel_tracead.component import Kind
from otel_tracead.errors import ConfigError
from otel_tracead.service.config import decode
from otel_tracead.service.registry import Registry
from otel_tracead.service.uris import Sources

FOLDER = Path(__file__).parent / "testdata"
FILES = sorted(path for path in FOLDER.glob("*.yaml") if path.name != "collector_keys.yaml")
VARIABLES = {
    "OTEL_COLLECTOR_HOST": "localhost",
    "OTEL_COLLECTOR_PORT_GRPC": "4317",
    "OTEL_COLLECTOR_PORT_HTTP": "4318",
    "MY_POD_IP": "127.0.0.1",
    "INGEST_TOKEN": "one",
    "BACKEND_TOKEN": "two",
}


def expected(path: Path, what: str) -> list[str]:
    comments = re.findall(r"^# ?(.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    found = re.search(rf"^{what}:\n((?:  .*\n?)*)", "\n".join(comments), re.MULTILINE)
    lines: list[str] = yaml.safe_load(found[1]) if found else []
    types = {f"[{kind.value.upper()}]": f"[{' '.join(Registry().names(kind))}]" for kind in Kind}
    return [re.sub(r"\[[A-Z]+\]", lambda match: types[match[0]], line) for line in lines]


def read(path: Path) -> tuple[list[str], list[str]]:
    """Give the problems of a file, and its warnings if there are none."""
    warnings: list[str] = []
    try:
        tree: Any = Sources([str(path)], variables=VARIABLES).load(warnings.append)
        return [], [*warnings, *decode(tree, Registry(), FOLDER).warnings]
    except ConfigError as error:
        return list(error.problems), []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_exactly_what_is_not_here_is_named(path: Path) -> None:
    problems, warnings = read(path)
    assert sorted(problems) == sorted(expected(path, "problems"))
    if not problems:
        assert sorted(warnings) == sorted(expected(path, "warnings"))


def test_there_are_enough_of_both() -> None:
    good = [path for path in FILES if not expected(path, "problems")]
    assert len(good) >= 3
    assert len(FILES) - len(good) >= 4
