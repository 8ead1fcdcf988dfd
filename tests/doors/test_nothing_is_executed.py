"""Nothing that comes from outside is run, in anything that ships: the package, its tools, benchmarks, fuzzers and examples."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.source_tree import ROOT

SHIPS = ("otel_tracead", "exporters", "tools", "benchmarks", "examples", "fuzz")
MODULES = {"cPickle", "dill", "joblib", "marshal", "pickle", "runpy", "shelve", "code", "codeop", "xmlrpc", "pty"}
CALLS = {"__import__", "compile", "eval", "exec"}
METHODS = {"os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput", "tempfile.mktemp"}
# (file, what): who does all the same, and why.
ALLOWED = {
    ("otel_tracead/tls.py", "CERT_NONE"),  # insecure_skip_verify, which the user asks for
}


def sources() -> list[Path]:
    return sorted(path for name in SHIPS for path in (ROOT / name).rglob("*.py") if "__pycache__" not in path.parts)


def dangers(tree: ast.AST) -> Iterator[str]:
    """Give what in *tree* can run or trust what somebody else wrote."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] in MODULES)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in MODULES:
            yield str(node.module)
        elif isinstance(node, ast.Attribute) and node.attr in {"CERT_NONE", "_create_unverified_context"}:
            yield node.attr
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            if name in CALLS | METHODS:
                yield name
            if given.get("shell", "False") != "False":
                yield "shell"
            if given.get("allow_pickle", "False") != "False":
                yield "allow_pickle"
            if name in {"yaml.load", "yaml.unsafe_load", "yaml.full_load", "yaml.load_all"}:
                yield name
            if name == "torch.load" and given.get("weights_only") != "True":
                yield name
            if name.endswith(".extractall") and "filter" not in given:
                yield "extractall"
            if given.get("verify") == "False" or given.get("ssl") == "False":
                yield "verify"


def test_nothing_that_ships_runs_what_others_wrote() -> None:
    found = {
        (str(path.relative_to(ROOT)), danger)
        for path in sources()
        for danger in dangers(ast.parse(path.read_text(encoding="utf-8")))
    }
    assert found == ALLOWED


@pytest.mark.parametrize(
    "line",
    [
        *("import pickle", "from marshal import loads", "eval(x)", "os.system(x)", "subprocess.run(x, shell=True)"),
        *(
            "np.load(x, allow_pickle=True)",
            "yaml.load(x)",
            "torch.load(x)",
            "tar.extractall(x)",
            "get(x, verify=False)",
        ),
        "context.verify_mode = ssl.CERT_NONE",
    ],
)
def test_each_of_them_would_be_found(line: str) -> None:
    assert list(dangers(ast.parse(line)))
