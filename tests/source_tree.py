"""The source as the tests of its structure see it: modules by name, and what each of them imports."""

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGES = {"otel_tracead": ROOT / "otel_tracead", "otel_tracead_exporters": ROOT / "exporters/otel_tracead_exporters"}


@cache
def modules() -> dict[str, ast.Module]:
    """Every module of ours, by its full name."""
    found = {}
    for package, folder in PACKAGES.items():
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            name = ".".join((package, *(parts[:-1] if parts[-1] == "__init__" else parts)))
            found[name] = ast.parse(path.read_text(encoding="utf-8"), str(path))
    return found


def imports(module: str) -> Iterator[str]:
    """Full names of what *module* imports, wherever in it; `from a import b` is `a.b` where that is a module of ours."""
    for node in ast.walk(modules()[module]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: a relative import in line {node.lineno}"
            source = node.module or ""
            for alias in node.names:
                full = f"{source}.{alias.name}"
                yield full if full in modules() else source


def is_ours(name: str) -> bool:
    return name.split(".", maxsplit=1)[0] in PACKAGES


def is_third_party(name: str) -> bool:
    return not is_ours(name) and name.split(".", maxsplit=1)[0] not in sys.stdlib_module_names


def under(name: str, package: str) -> bool:
    """Whether *name* is *package* or something in it."""
    return name == package or name.startswith(f"{package}.")
