"""What a user installs: the source distribution and the wheel, built without network, and the commands of a wheel alone."""

import email
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tarfile
import time
import tomllib
import venv
import zipfile
from pathlib import Path, PurePosixPath

import pytest
from packaging.metadata import Metadata
from readme_renderer import markdown

from tests.source_tree import ROOT
from tools.peers import free_port, guarded

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EPOCH = {**os.environ, "SOURCE_DATE_EPOCH": "1767225600"}
NOT_DISTRIBUTED = {".gitignore", ".ci/run"}
IN_A_WHEEL = {".py", ".typed", ".md", ".html", ".css", ".svg", ".npz", ".json", ".onnx", ".txt", ""}


def _build(what: str, source: Path, folder: Path) -> Path:
    command = [sys.executable, "-m", "build", f"--{what}", "--no-isolation", "--outdir", str(folder), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=EPOCH)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = folder.iterdir()
    return built


def _unpacked(sdist: Path, folder: Path) -> Path:
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    (source,) = folder.iterdir()
    return source


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _build("wheel", ROOT, tmp_path_factory.mktemp("wheel"))


def _tracked() -> set[str]:
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip("no git checkout")
    return {name for name in done.stdout.splitlines() if (ROOT / name).exists()}


def test_the_source_distribution_holds_the_checkout_and_builds_the_same_bytes(tmp_path):
    sdist = _build("sdist", ROOT, tmp_path / "sdist")
    source = _unpacked(sdist, tmp_path / "source")
    there = {path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file()}
    assert _tracked() - NOT_DISTRIBUTED <= there
    unwanted = [name for name in there if "__pycache__" in name or name.startswith((".", "build/", "dist/"))]
    assert sorted(unwanted) == [".containerignore", ".dockerignore", ".gitignore"]
    older = _unpacked(sdist, tmp_path / "copy")
    for path in older.rglob("*"):
        os.utime(path, (1, 1))
    wheels = [_build("wheel", tree, tmp_path / name) for name, tree in (("a", source), ("b", older), ("c", ROOT))]
    assert len(set(map(_digest, wheels))) == 1
    assert _digest(_build("sdist", source, tmp_path / "again")) == _digest(sdist)


def test_a_wheel_holds_the_packages_their_types_the_model_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    information = f"otel_tracead-{PROJECT['version']}.dist-info"
    assert {name.split("/")[0] for name in names} == {"otel_tracead", "otel_tracead_exporters", information}
    assert {PurePosixPath(name).suffix for name in names} <= IN_A_WHEEL
    assert [name for name in names if "test" in name and not name.endswith("/testing.py")] == []
    model = (ROOT / "model_artifacts/shop").iterdir()
    assert {f"otel_tracead/model_artifacts/shop/{path.name}" for path in model} <= {*names}
    needed = {"otel_tracead/py.typed", "otel_tracead_exporters/py.typed", f"{information}/licenses/LICENSE"}
    assert needed <= {*names}
    sources = [*(ROOT / "otel_tracead").rglob("*.py"), *(ROOT / "exporters/otel_tracead_exporters").rglob("*.py")]
    assert sum(name.endswith(".py") for name in names) == len(sources)


def test_the_metadata_is_whole_and_its_text_renders_by_itself(wheel):
    with zipfile.ZipFile(wheel) as archive:
        written = archive.read(f"otel_tracead-{PROJECT['version']}.dist-info/METADATA")
    metadata = Metadata.from_email(written, validate=True)
    assert metadata.license_expression == "Apache-2.0"
    assert metadata.license_files == ["LICENSE"]
    assert str(metadata.requires_python) == ">=3.11"
    assert {"train", "dev"} <= {*(metadata.provides_extra or ())}
    assert "Typing :: Typed" in (metadata.classifiers or ())
    assert metadata.description_content_type == "text/markdown"
    text = email.message_from_bytes(written).get_payload()
    html = markdown.render(text)
    assert html is not None
    # On an index nothing lies beside this page.
    assert "<img" not in html
    assert [part.split('"')[0] for part in html.split('href="')[1:] if not part.startswith(("http", "#"))] == []
    for heading in ("See it work", "What it promises", "Numbers"):
        assert heading in html


class Installed:
    """A wheel in an environment of its own, asked from a folder that is no checkout."""

    def __init__(self, command: Path, folder: Path) -> None:
        self.command = command
        self.folder = folder
        # Neither this checkout nor what the tests set.
        self.env = {key: value for key, value in os.environ.items() if key not in {"PYTHONPATH", "VIRTUAL_ENV"}}

    def __call__(self, *arguments: str) -> str:
        done = subprocess.run(
            [self.command, *arguments], cwd=self.folder, env=self.env, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        return done.stdout


def _works(installed: Installed) -> None:
    assert installed("--version").strip().endswith(PROJECT["version"])
    assert "otlp_grpc" in installed("components")
    (installed.folder / "stage.yaml").write_text(STAGE)
    assert installed("validate", "--config", "stage.yaml") == ""
    _runs(installed)


STAGE = """
receivers: {otlp: {protocols: {grpc: {endpoint: "127.0.0.1:${env:GRPC:-4317}"}}}}
processors: {tracead: {wait_duration: 1s, execution_provider: cpu}}
exporters: {file: {path: annotated.jsonl}}
service:
  telemetry: {metrics: {level: none}}
  pipelines: {traces: {receivers: [otlp], processors: [tracead], exporters: [file]}}
"""


def _runs(installed: Installed) -> None:
    """The stage with the bundled model, from the first span to the end of its drain."""
    port = free_port()
    log = installed.folder / "log"
    with log.open("wb") as output:
        stage = guarded(
            subprocess.Popen(
                [installed.command, "run", "--config", "stage.yaml"],
                cwd=installed.folder,
                env={**installed.env, "GRPC": str(port)},
                stderr=output,
            )
        )
    try:
        deadline = time.monotonic() + 60
        while b"everything is ready" not in log.read_bytes():
            assert stage.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        installed("generate", "--endpoint", f"http://127.0.0.1:{port}", "--duration", "5s")
        stage.send_signal(signal.SIGTERM)
        assert stage.wait(60) == 0, log.read_text()
    finally:
        stage.kill()
        stage.wait()
    annotated = (installed.folder / "annotated.jsonl").read_text()
    assert '"tracead.trace.anomalous"' in annotated
    assert '"tracead.unscored"' not in annotated


def test_an_installed_wheel_works_away_from_the_checkout(wheel, tmp_path):
    home = tmp_path / "environment"
    venv.create(home, with_pip=False, symlinks=True)
    python = home / "bin/python"
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index", "--quiet"]
    subprocess.run([*command, str(wheel)], check=True, capture_output=True)
    # The dependencies of this environment, by a line that does not bring in its editable installs.
    (packages,) = home.glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    (tmp_path / "elsewhere").mkdir()
    _works(Installed(home / "bin/otel-tracead", tmp_path / "elsewhere"))


@pytest.mark.peers
@pytest.mark.slow
def test_pipx_installs_it_with_all_that_it_needs(wheel, tmp_path):
    env = {
        **os.environ,
        "PIPX_HOME": str(tmp_path / "home"),
        "PIPX_BIN_DIR": str(tmp_path / "bin"),
        "PIPX_MAN_DIR": str(tmp_path / "man"),
    }
    constraints = ROOT / "constraints.txt"
    command = [sys.executable, "-m", "pipx", "install", f"--pip-args=--constraint {constraints}", str(wheel)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (tmp_path / "elsewhere").mkdir()
    try:
        _works(Installed(tmp_path / "bin/otel-tracead", tmp_path / "elsewhere"))
    finally:
        shutil.rmtree(tmp_path / "home")  # half a gigabyte
