"""Audits what is installed with the package: `python -m tools.audit [FILE]`, as `make audit` does.

pip-audit asks the Python Package Index for known vulnerabilities of every version in `constraints.txt`. Where the index that is
reached keeps no such data (a mirror), that is said, and what is left is the review of the lock: every package that the stage
imports is pinned, the pins are what is installed, and the licences are such that allow everything that Apache-2.0 does.
"""

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any, Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT: Final = Path(__file__).parent.parent
LOCK: Final = ROOT / "constraints.txt"
RESULT: Final = ROOT / "docs/results/audit.txt"
_OTHER: Final = "-"
_LONGEST: Final = 40
# Words of licences that ask for more than to be named; MPL-2.0 asks it for its own files only.
_COPYLEFT: Final = re.compile(r"\b(A?GPL|LGPL|EUPL|SSPL|CC-BY-SA|GNU)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Pin:
    """One line of the lock.

    Attributes:
        name: normalized.
        version: that is installed by the Makefile's targets.
        needed: by the stage itself (empty), by an extra, or by nothing that is installed here.
        licence: as its metadata has it; empty where it is not installed here.
        installed: its version here; empty likewise.
    """

    name: str
    version: str
    needed: str
    licence: str
    installed: str


def pins(lock: str) -> dict[str, str]:
    """Read the lock: versions by normalized name.

    Raises:
        ValueError: a line is no `name==version`, or a name stands twice.
    """
    found: dict[str, str] = {}
    for line in lock.splitlines():
        text = line.partition("#")[0].strip()
        if not text:
            continue
        name, equals, version = text.partition("==")
        if not equals or not version.strip() or (key := canonicalize_name(name.strip())) in found:
            raise ValueError(f"constraints.txt: not one version of a package: {line}")
        found[key] = version.partition(";")[0].strip()
    return found


def licence(metadata: Mapping[str, str], classifiers: Iterable[str]) -> str:
    """Give the licence that metadata names, in a few words."""
    given = metadata.get("License-Expression") or ""
    if not given:
        named = [text.rpartition(" :: ")[2] for text in classifiers if text.startswith("License :: ")]
        given = ", ".join(name for name in named if name != "OSI Approved")
    if not given:
        given = (metadata.get("License") or "").strip().partition("\n")[0]
    return given[:_LONGEST]


def needs(installed: Mapping[str, Distribution], requirements: Iterable[str]) -> set[str]:
    """Give the names of all packages that *requirements* ask for, and of those that they need, as far as they are installed."""
    found: set[str] = set()
    waiting = [(line, "") for line in requirements]
    seen = set(waiting)
    while waiting:
        line, extra = waiting.pop()
        requirement = Requirement(line)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(requirement.name)
        found.add(name)
        distribution = installed.get(name)
        below = (distribution.requires or []) if distribution is not None else []
        steps = {(one, asked) for one in below for asked in ("", *requirement.extras)} - seen
        seen |= steps
        waiting += steps
    return found


def review(
    lock: Mapping[str, str], installed: Mapping[str, Distribution], requirements: Mapping[str, Sequence[str]]
) -> tuple[list[Pin], list[str]]:
    """Look at every pin; give them, and what is wrong with them.

    Args:
        lock: versions by name.
        installed: packages by name.
        requirements: what the package asks for, by extra; by an empty string what it always needs.
    """
    users: dict[str, str] = {}
    for extra, lines in requirements.items():
        for name in needs(installed, lines):
            users.setdefault(name, extra)
    found, wrong = [], []
    for name in sorted(lock):
        distribution = installed.get(name)
        metadata: Any = {} if distribution is None else distribution.metadata
        terms = "" if distribution is None else licence(metadata, metadata.get_all("Classifier") or [])
        here = "" if distribution is None else distribution.version
        pin = Pin(name, lock[name], users.get(name, _OTHER), terms, here)
        found.append(pin)
        if here and pin.needed != _OTHER and here.partition("+")[0] != pin.version:
            wrong.append(f"{name}: {here} is installed, {pin.version} is pinned")
        if pin.needed == "" and _COPYLEFT.search(terms):
            wrong.append(f"{name}: the stage needs it, and its licence asks for more than to be named: {terms}")
    wrong += [
        f"{name}: the stage needs it, and it is not pinned"
        for name in sorted(needs(installed, requirements[""]) - lock.keys())
    ]
    return found, wrong


def vulnerabilities() -> tuple[list[str], str]:
    """Ask pip-audit; give what is known of any pin, and how many it found data of, in words."""
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(LOCK), "--no-deps", "--disable-pip"]
    done = subprocess.run([*command, "--format", "json"], capture_output=True, text=True, check=False)
    try:
        audited = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        said = done.stderr.strip().splitlines()[-1:] or ["nothing"]
        return [], f"pip-audit could not reach its data ({said[0][:200]})"
    known = [one for one in audited if "vulns" in one]
    if not known:
        return (
            [],
            f"pip-audit could not reach its data: the index knows none of the {len(audited)} packages by their versions",
        )
    found = [f"{one['name']} {one['version']}: {bug['id']}" for one in known for bug in one["vulns"]]
    return found, f"pip-audit knows {len(known)} of {len(audited)} pinned versions: {len(found)} known vulnerabilities"


def page(found: Sequence[Pin], wrong: Sequence[str], bugs: Sequence[str], said: str) -> str:
    """Write what was found."""
    stage = [pin for pin in found if pin.needed == ""]
    lines = [
        "What `make audit` found.",
        "",
        said + ".",
        *(f"  {bug}" for bug in bugs),
        f"The lock: {len(found)} versions, {len(stage)} of them of packages that the stage itself needs; "
        + (f"{len(wrong)} things to look at:" if wrong else "nothing to look at."),
        *(f"  {one}" for one in wrong),
        "How old a release is, no data here says.",
        "",
        f"{'package':<42} {'pinned':<16} {'for':<8} licence",
    ]
    for pin in sorted(found, key=lambda one: (one.needed != "", one.needed == _OTHER, one.needed, one.name)):
        terms = pin.licence or ("not said" if pin.installed else "not installed here")
        lines.append(f"{pin.name:<42} {pin.version:<16} {pin.needed or 'stage':<8} {terms}")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Audit, write the page, and say in a few words what is on it; 1 if somebody has to look."""
    installed: dict[str, Distribution] = {canonicalize_name(one.metadata["Name"]): one for one in distributions()}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    requirements = {"": project["dependencies"], **project["optional-dependencies"]}
    found, wrong = review(pins(LOCK.read_text(encoding="utf-8")), installed, requirements)
    bugs, said = vulnerabilities()
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else RESULT
    target.write_text(page(found, wrong, bugs, said), encoding="utf-8")
    sys.stdout.write("\n".join([said, *bugs, *wrong, f"all of it: {target}"]) + "\n")
    return 1 if bugs or wrong else 0


if __name__ == "__main__":
    sys.exit(main())
