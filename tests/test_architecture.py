"""The directions of imports that docs/architecture.md promises, read from the source."""

import ast
import re

import pytest

from tests.source_tree import ROOT, imports, is_ours, is_third_party, modules, under

OURS = "otel_tracead."

# From the ground up: a module imports what stands in lines above its own, or its own package.
FLOORS: tuple[tuple[str, ...], ...] = (
    (
        "_version",
        "daemon",
        "errors",
        "duration",
        "event_loop",
        "fingerprint",
        "health",
        "line_writer",
        "log_limit",
        "metrics",
        "process",
        "terminal",
    ),
    ("moment", "telemetry"),  # a duration back from something is a moment; telemetry counts the metrics
    ("wire", "http2"),
    ("delivery", "status"),
    ("traces",),
    ("trace_stores",),
    ("artifact",),
    # These know traces only; the detector's own check tries itself with injections, and training makes sequence models.
    ("evaluation.injections", "evaluation.sequence_models"),
    ("detection",),
    ("redaction",),
    ("component", "config_types"),
    ("tls", "auth", "storage", "http2_protocol"),
    ("exporting", "kafka", "testing"),
    ("receivers", "processors", "extensions", "otel_tracead_exporters"),
    ("sdk",),
    ("service",),
    ("generator", "reports.annotated"),  # what an annotated trace says, read back; the demo's outcome is made of it
    ("demonstration",),
    ("reports",),
    ("training",),
    ("evaluation",),
    ("cli",),
    ("__main__",),
)

# Packages whose parts are components: each may be taken out without the others noticing.
COMPONENTS = ("otel_tracead.receivers", "otel_tracead.processors", "otel_tracead.extensions", "otel_tracead_exporters")

# What of the outside world the floors below the components may know.
KNOWS = {
    "otel_tracead.wire": {"google", "msgspec", "numpy", "opentelemetry", "orjson", "zstandard"},
    "otel_tracead.http2": {"hpack"},
    "otel_tracead.traces": {"google", "numpy"},
    "otel_tracead.artifact": {"numpy", "orjson", "pydantic"},
    "otel_tracead.evaluation.injections": {"numpy"},
    "otel_tracead.evaluation.sequence_models": {"numpy"},
    "otel_tracead.detection": {"google", "numpy", "onnxruntime", "scipy"},
}
_IO = {"asyncio", "http", "select", "selectors", "socket", "socketserver", "ssl", "threading", "urllib"}
_CLOCKS = {"datetime", "time"}

# What can run what somebody else wrote, and who may all the same.
DANGEROUS_MODULES = {
    "code",
    "ctypes",
    "dill",
    "importlib",
    "marshal",
    "multiprocessing",
    "pickle",
    "runpy",
    "shelve",
    "subprocess",
}
DANGEROUS_CALLS = {"__import__", "compile", "eval", "exec"}
ALLOWED = {
    ("otel_tracead.detection.cuda", "ctypes"),  # calls the CUDA runtime, and asks the loader whether it is there
    ("otel_tracead.processors.memory_limiter.processor", "ctypes"),  # asks the C library to give memory back
    ("otel_tracead.service.memory", "ctypes"),  # asks the C library to keep memory
    ("otel_tracead.service.registry", "importlib"),  # plug-ins, by entry points that were installed
    ("otel_tracead.cli", "importlib"),  # its own commands, by a table of names
    ("otel_tracead.training.side_by_side", "multiprocessing"),  # its own workers; nothing from outside comes that way
}


def _floor(name: str) -> int:
    short = name.removeprefix(OURS)
    matches = [(len(entry), floor) for floor, line in enumerate(FLOORS) for entry in line if under(short, entry)]
    assert matches, f"{name} stands on no floor: give it its place in FLOORS and in docs/architecture.md"
    return max(matches)[1]


def _edges() -> list[tuple[str, str]]:
    return [(name, target) for name in modules() for target in imports(name) if is_ours(target) and target != name]


def _package(name: str) -> str:
    return ".".join(name.split(".")[:2])


def test_imports_only_go_down():
    wrong = [
        f"{name} imports {target}"
        for name, target in _edges()
        if name != "otel_tracead" and target != "otel_tracead"
        if _package(name) != _package(target)
        if not (under(name, "otel_tracead_exporters") and under(target, "otel_tracead_exporters"))
        if _floor(target) >= _floor(name)
    ]
    assert wrong == []


def test_components_do_not_know_each_other():
    wrong = []
    for home in COMPONENTS:
        parts = {name for name in modules() if name.count(".") == home.count(".") + 1 and under(name, home)}
        components = {part for part in parts if f"{part}.config" in modules()}
        assert components, home
        for name, target in _edges():
            owner = next((one for one in components if under(name, one)), None)
            other = next((one for one in components if under(target, one)), None)
            if other is not None and other != owner and under(name, home):
                wrong.append(f"{name} imports {target}")
    kinds = [(name, target) for name, target in _edges() for kind in COMPONENTS if under(name, kind)]
    wrong += [f"{a} imports {b}" for a, b in kinds for kind in COMPONENTS if under(b, kind) and not under(a, kind)]
    assert wrong == []


def test_the_service_does_not_know_what_components_do():
    doings = (
        *COMPONENTS,
        "otel_tracead.wire",
        "otel_tracead.traces",
        "otel_tracead.artifact",
        "otel_tracead.detection",
    )
    assert [
        (a, b) for a, b in _edges() if under(a, "otel_tracead.service") and any(under(b, one) for one in doings)
    ] == []


def test_the_core_imports_no_exporter():
    assert [(a, b) for a, b in _edges() if under(a, "otel_tracead") and under(b, "otel_tracead_exporters")] == []


@pytest.mark.parametrize("package", KNOWS)
def test_lower_floors_know_little_of_the_outside(package):
    wrong = []
    for name in modules():
        if not under(name, package):
            continue
        for target in imports(name):
            top = target.split(".")[0]
            if (is_third_party(target) and top not in KNOWS[package]) or top in _IO:
                wrong.append(f"{name} imports {target}")
            if top in _CLOCKS and package == "otel_tracead.traces":
                wrong.append(f"{name} imports {target}: time is an argument")
    assert wrong == []


@pytest.mark.parametrize(
    ("library", "homes"),
    [
        ("torch", ("otel_tracead.training", "otel_tracead.evaluation", "otel_tracead.cli.train")),
        ("onnx", ("otel_tracead.training",)),
        ("onnxruntime", ("otel_tracead.detection.onnx_sessions",)),
        ("grpc", ("otel_tracead.generator.sinks",)),
    ],
)
def test_heavy_libraries_have_their_homes(library, homes):
    wrong = [
        f"{name} imports {target}"
        for name in modules()
        for target in imports(name)
        if target.split(".")[0] == library and not any(under(name, home) for home in homes)
    ]
    assert wrong == []


def test_nothing_from_outside_is_executed():
    found = set()
    for name, tree in modules().items():
        tops = {target.split(".")[0] for target in imports(name) if target != "importlib.metadata"}
        found |= {(name, top) for top in tops & DANGEROUS_MODULES}
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in DANGEROUS_CALLS:
                found.add((name, node.func.id))
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in {"system", "popen"}
            ):
                found.add((name, f"os.{node.func.attr}"))
            if isinstance(node, ast.keyword) and node.arg == "allow_pickle" and ast.unparse(node.value) != "False":
                found.add((name, "allow_pickle"))
    assert found == ALLOWED


def test_every_module_says_what_it_is_for():
    assert [name for name, tree in modules().items() if not ast.get_docstring(tree)] == []


def test_the_map_names_every_floor():
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    hand_written = text.partition("## Modules")[0]
    places = {place for line in FLOORS for place in line} - {"_version", "__main__"}
    missing = [place for place in places if not re.search(rf"[`/]{place.replace('.', '/')}(\.py)?`", hand_written)]
    assert missing == []
