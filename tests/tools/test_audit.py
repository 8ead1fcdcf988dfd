"""The review of the lock, on made-up packages; and that the lock as it is holds."""

import tomllib
from collections.abc import Iterator
from email.message import Message
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

import pytest
from packaging.utils import canonicalize_name

from tests.source_tree import ROOT
from tools import audit


class Made(Distribution):
    """A distribution of a name, a version, requirements and a licence."""

    def __init__(self, name: str, version: str, needs: list[str], licence: str = "MIT") -> None:
        self._message = Message()
        for key, value in (("Name", name), ("Version", version), ("License-Expression", licence)):
            self._message[key] = value
        for one in needs:
            self._message["Requires-Dist"] = one

    @property
    def metadata(self) -> Any:
        return self._message

    @property
    def requires(self) -> list[str]:
        return self._message.get_all("Requires-Dist") or []

    def read_text(self, _name: str) -> None:
        return None

    def locate_file(self, path: Any) -> Path:
        return Path(path)


INSTALLED: dict[str, Distribution] = {
    "a": Made("a", "1", ["b>=1", "c; extra == 'more'", "never; python_version < '3'"]),
    "b": Made("b", "2", ["a"]),
    "c": Made("c", "3", [], "GPL-3.0-only"),
    "d": Made("d", "4", []),
}


def test_what_needs_what() -> None:
    assert audit.needs(INSTALLED, ["a"]) == {"a", "b"}
    assert audit.needs(INSTALLED, ["A[more]>=1"]) == {"a", "b", "c"}


def test_everything_that_is_wrong_is_found() -> None:
    found, wrong = audit.review({"a": "1", "c": "3", "d": "5"}, INSTALLED, {"": ["a[more]"], "dev": ["d"]})
    assert [(pin.name, pin.needed) for pin in found] == [("a", ""), ("c", ""), ("d", "dev")]
    assert sorted(wrong) == [
        "b: the stage needs it, and it is not pinned",
        "c: the stage needs it, and its licence asks for more than to be named: GPL-3.0-only",
        "d: 4 is installed, 5 is pinned",
    ]
    text = audit.page(found, wrong, ["x 1: CVE-1"], "said")
    assert all(word in text for word in (*wrong, "CVE-1", "said."))


@pytest.mark.parametrize("line", ["a", "a>=1", "a==", "b==1\nB==2"])
def test_a_lock_that_is_none(line: str) -> None:
    with pytest.raises(ValueError, match="not one version"):
        audit.pins(line)


def names() -> Iterator[tuple[str, Distribution]]:
    for one in distributions():
        yield canonicalize_name(one.metadata["Name"]), one


def test_whatever_the_stage_needs_is_pinned_under_a_licence_that_allows_it() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found, wrong = audit.review(
        audit.pins((ROOT / "constraints.txt").read_text(encoding="utf-8")), dict(names()), {"": project["dependencies"]}
    )
    assert [one for one in wrong if "stage needs it" in one] == []
    assert all(pin.licence for pin in found if pin.needed == "" and pin.installed)
