"""What a package offers is written down: `__all__` names what is there, and nothing public is there besides."""

import ast
from importlib import import_module

import pytest

import otel_tracead
from tests.source_tree import PACKAGES, modules


def _explicit() -> list[str]:
    return [
        name
        for name, tree in modules().items()
        if any(
            isinstance(target, ast.Name) and target.id == "__all__"
            for node in tree.body
            for target in ([node.target] if isinstance(node, ast.AnnAssign) else getattr(node, "targets", []))
        )
    ]


@pytest.mark.parametrize("name", _explicit())
def test_all_is_what_there_is(name):
    module = import_module(name)
    offered = list(module.__all__)
    assert len(set(offered)) == len(offered)
    assert [name for name in offered if not hasattr(module, name)] == []
    assert _defined(name) <= set(offered)


def _defined(module: str) -> set[str]:
    """Public names that the module itself makes; what it imports it only uses."""
    found = set()
    for node in modules()[module].body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            found.add(node.name)
        targets = [node.target] if isinstance(node, ast.AnnAssign) else getattr(node, "targets", [])
        found |= {target.id for target in targets if isinstance(target, ast.Name)}
    return {name for name in found if not name.startswith("_")}


@pytest.mark.parametrize(
    "name", [name for name in modules() if f"{name}.config" in modules() and ".service" not in name]
)
def test_component_packages_offer_their_factory(name):
    if name != "otel_tracead.exporting":
        assert "FACTORY" in import_module(name).__all__


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_say_that_they_are_typed(package):
    assert (PACKAGES[package] / "py.typed").is_file()


def test_the_version_is_that_of_the_distribution():
    from importlib.metadata import version

    assert otel_tracead.__version__ == version("otel-tracead")
