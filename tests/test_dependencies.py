"""What is imported is declared, what is declared is used, and docs/dependencies.md says why."""

import re
import tomllib

from tests.source_tree import ROOT, imports, is_third_party, modules, under

# Distributions whose import name is not their own, and parts of others that come with them.
DISTRIBUTIONS = {
    "confluent_kafka": "confluent-kafka",
    "google.protobuf": "protobuf",
    "grpc": "grpcio",
    "opentelemetry.proto": "opentelemetry-proto",
    "opentelemetry.attributes": "opentelemetry-sdk",
    "opentelemetry.context": "opentelemetry-sdk",
    "opentelemetry.sdk": "opentelemetry-sdk",
    "opentelemetry.trace": "opentelemetry-sdk",
    "pydantic_core": "pydantic",
    "yaml": "pyyaml",
}
ONE_OF_TWO = {"onnxruntime": {"onnxruntime", "onnxruntime-gpu"}}
# What may need the extra of that name.
TRAIN = ("otel_tracead.training", "otel_tracead.evaluation.figures", "otel_tracead.evaluation.chart_style")


def _names(requirements: list[str]) -> set[str]:
    return {re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0].lower() for requirement in requirements}


def _project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def _distributions(module: str) -> set[str]:
    found = set()
    for target in filter(is_third_party, imports(module)):
        known = next((name for prefix, name in DISTRIBUTIONS.items() if under(target, prefix)), target.split(".")[0])
        found |= ONE_OF_TWO.get(known, {known})
    return found


def test_every_import_is_declared_for_whom_needs_it():
    project = _project()
    runtime = _names(project["dependencies"])
    train = runtime | _names(project["optional-dependencies"]["train"])
    wrong = {
        f"{module} imports {name}"
        for module in modules()
        for name in _distributions(module) - (train if any(under(module, home) for home in TRAIN) else runtime)
    }
    assert wrong == set()


def test_every_declaration_is_used():
    project = _project()
    declared = _names(project["dependencies"]) | _names(project["optional-dependencies"]["train"])
    used = set().union(*(_distributions(module) for module in modules()))
    assert declared - used == set()


def test_every_declaration_is_explained():
    text = (ROOT / "docs/dependencies.md").read_text(encoding="utf-8")
    project = _project()
    declared = _names(project["dependencies"]).union(*map(_names, project["optional-dependencies"].values()))
    rows = {
        name.lower()
        for line in text.splitlines()
        if line.startswith("| `")
        for name in re.findall(r"`([^`]+)`", line.split("|")[1])
    }
    assert rows == declared


def test_every_declaration_is_pinned():
    pinned = _names((ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines())
    project = _project()
    declared = _names(project["dependencies"]).union(*map(_names, project["optional-dependencies"].values()))
    assert {name.replace("_", "-") for name in declared} <= {name.replace("_", "-") for name in pinned}
