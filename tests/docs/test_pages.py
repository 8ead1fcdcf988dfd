"""What the pages say: links lead somewhere, commands exist, configurations are valid, attributes are those that are written."""

import re
from importlib import import_module
from pathlib import Path
from urllib.parse import unquote

import click
import pytest
import yaml

from otel_tracead.cli import COMMANDS, cli
from otel_tracead.service.config import decode
from otel_tracead.service.registry import Registry
from otel_tracead.service.uris import Sources
from tests.source_tree import PACKAGES, ROOT, modules

PAGES = sorted(
    path
    for pattern in (
        "*.md",
        "docs/**/*.md",
        "deploy/**/*.md",
        "examples/*.md",
        "exporters/**/*.md",
        "otel_tracead/**/*.md",
    )
    for path in ROOT.glob(pattern)
)
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _anchors(path: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_links_lead_somewhere(page):
    broken = []
    for link in _LINK.findall(page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", link):
            continue
        place, _, anchor = unquote(link).partition("#")
        target = (page.parent / place).resolve() if place else page
        if not target.exists() or (anchor and anchor not in _anchors(target)):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_commands_exist_with_their_options(page):
    text = page.read_text(encoding="utf-8")
    wrong = []
    for line in re.findall(r"(?:^ {4}|`|\$ )otel-tracead ((?:[^`\n\\]|\\\n)+)", text, re.MULTILINE):
        words = line.split("#")[0].replace("\\\n", " ").split()
        if words[0].startswith("-"):
            continue
        command = cli.get_command(click.Context(cli), words[0])
        if command is None:
            wrong.append(f"{words[0]}: no such command")
            continue
        known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        wrong += [f"{words[0]} {word}" for word in words if word.startswith("--") and word.split("=")[0] not in known]
    assert wrong == []


def test_the_readme_lists_every_command_there_is():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    there = [name for name in COMMANDS if cli.get_command(click.Context(cli), name) is not None]
    assert [name for name in there if f"`otel-tracead {name}`" not in text] == []


def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    for page in PAGES:
        named = set(re.findall(r"(?:`|^ {4})make ([a-z-]+)", page.read_text(encoding="utf-8"), re.MULTILINE))
        assert named <= targets, _name(page)


@pytest.mark.parametrize("page", ["README.md", "docs/configuration.md"])
def test_whole_configurations_are_valid(page, tmp_path):
    blocks = [
        body for language, body in _FENCE.findall((ROOT / page).read_text(encoding="utf-8")) if language == "yaml"
    ]
    assert blocks
    for body in blocks:
        (tmp_path / "config.yaml").write_text(body, encoding="utf-8")
        tree = Sources([str(tmp_path / "config.yaml")], variables={}).load(lambda _warning: None)
        decode(tree, Registry(), tmp_path)


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.name == "README.md" and page.parent != ROOT], ids=_name
)
def test_parts_of_configurations_are_valid(page):
    for language, body in _FENCE.findall(page.read_text(encoding="utf-8")):
        if language != "yaml":
            continue
        for kind, components in yaml.safe_load(body).items():
            for name, written in components.items() if kind != "service" else ():
                type_ = name.partition("/")[0]
                factory = next(f for f in _factories() if f.kind.value == kind and type_ in (f.name, *f.aliases))
                factory.config.model_validate(_expanded(written))


def _factories():
    packages = [name for name in modules() if f"{name}.config" in modules()]
    found = [getattr(import_module(name), "FACTORY", None) for name in packages]
    return [factory for factory in found if factory is not None]


def _expanded(written):
    return written if written is not None else {}


def test_attributes_are_those_that_are_written():
    source = (PACKAGES["otel_tracead"] / "detection/annotate.py").read_text(encoding="utf-8")
    written = set(re.findall(r'encode_attribute\("(tracead\.[a-z_.]+)"', source))
    text = (ROOT / "docs/attributes.md").read_text(encoding="utf-8")
    cells = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `tracead.")]
    explained = {key for cell in cells for key in re.findall(r"`(tracead\.[a-z_.]+)`", cell) if "=" not in cell}
    assert len(written) > 15
    assert explained == written
    mentioned = {
        key.rstrip(".") for page in PAGES for key in re.findall(r"\btracead\.[a-z_]+\.[a-z_]+\b", page.read_text())
    }
    assert mentioned <= written | {"tracead.yaml", "tracead.rules.yaml"}
