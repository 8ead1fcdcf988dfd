"""The model folder on disk: written whole, verified before anything in it is used."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson

from otel_tracead.artifact import calibration as calibrations
from otel_tracead.artifact import manifest as manifests
from otel_tracead.artifact import paper as papers
from otel_tracead.artifact.calibration import Calibration
from otel_tracead.artifact.manifest import Manifest
from otel_tracead.artifact.paper import PaperCalibration
from otel_tracead.errors import ArtifactError
from otel_tracead.traces.dictionary import Dictionary

MANIFEST: Final = "manifest.json"
NETWORK: Final = "model.onnx"
LABELS: Final = "labels.json"
CALIBRATION: Final = "calibration.npz"
REPORT: Final = "report.html"
_REQUIRED: Final = (NETWORK, LABELS, CALIBRATION, REPORT)
_MAX_BYTES: Final = 512 << 20
_MOST_FILES: Final = 64
# The key that every entry of ONNX's external data has; ONNX Runtime would read the file that it names.
_OUTSIDE: Final = b"location"


@dataclass(slots=True)
class Artifact:
    """A verified model artifact.

    Attributes:
        folder: where it lies.
        manifest: what it says of itself.
        network: the bytes of `model.onnx`.
        dictionary: its labels.
        numbers: what was measured for its kind of detector.
    """

    folder: Path
    manifest: Manifest
    network: bytes
    dictionary: Dictionary
    numbers: Calibration | PaperCalibration

    @property
    def calibration(self) -> Calibration:
        """The numbers of a model of the default preset.

        Raises:
            ArtifactError: it is a model of the preset `paper`.
        """
        if isinstance(self.numbers, PaperCalibration):
            raise ArtifactError(
                f"{self.folder}: a model of the preset paper, which knows nothing of this; "
                "train one with `otel-tracead train --preset default`"
            )
        return self.numbers


def load(folder: Path) -> Artifact:
    """Load and verify the artifact in *folder*; nothing in it is executed before its checksum was found right.

    Raises:
        ArtifactError: a file is missing, too large, changed, or not what it should be; says which and what to do.
    """
    manifest = read_manifest(folder)
    for name in _REQUIRED:
        if name not in manifest.files:
            raise ArtifactError(f"{folder / MANIFEST}: names no {name}")
    contents: dict[str, bytes] = {}
    if len(manifest.files) > _MOST_FILES:
        raise ArtifactError(f"{folder / MANIFEST}: names {len(manifest.files)} files, which no artifact has")
    for name, checksum in manifest.files.items():
        if not name or Path(name).name != name or name.startswith(".") or not name.isprintable():
            raise ArtifactError(f"{folder / MANIFEST}: names a file outside the artifact: {name!r}")
        content = _read(folder, name)
        if hashlib.sha256(content).hexdigest() != checksum:
            raise ArtifactError(f"{folder / name}: its checksum is not the manifest's; the file was changed or cut")
        if name in _REQUIRED:
            contents[name] = content
    if _OUTSIDE in contents[NETWORK]:
        raise ArtifactError(f"{folder / NETWORK}: keeps data in other files (external data), which no artifact does")
    dictionary = _dictionary(folder, contents[LABELS])
    numbers = papers.load if manifest.detector == "paper" else calibrations.load
    try:
        return Artifact(
            folder, manifest, contents[NETWORK], dictionary, numbers(contents[CALIBRATION], len(dictionary))
        )
    except ArtifactError as error:
        raise ArtifactError(f"{folder}: {error}") from error


def read_manifest(folder: Path) -> Manifest:
    """Read what the artifact in *folder* says of itself; what lies beside it is not looked at.

    Raises:
        ArtifactError: there is no manifest, or it was changed.
    """
    encoded = _read(folder, MANIFEST)
    try:
        return manifests.decode(encoded)
    except ArtifactError as error:
        raise ArtifactError(f"{folder}: {error}") from error


def save(folder: Path, manifest: Manifest, contents: dict[str, bytes]) -> Manifest:
    """Write an artifact: the files, then the manifest with their checksums, so that a cut one is never taken.

    Raises:
        ArtifactError: the folder cannot be written.
    """
    checksums = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    sealed = manifest.model_copy(update={"files": checksums}).sealed()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MANIFEST).unlink(missing_ok=True)
        for name, content in contents.items():
            (folder / name).write_bytes(content)
        (folder / MANIFEST).write_bytes(sealed.encode())
    except OSError as error:
        raise ArtifactError(f"{folder}: cannot be written: {error.strerror or error}") from error
    return sealed


def encode_dictionary(dictionary: Dictionary) -> bytes:
    """Encode `labels.json`: the labels by index, and those that were too rare for one."""
    content = {"labels": list(dictionary.labels), "rare": sorted(dictionary.rare)}
    return orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _dictionary(folder: Path, content: bytes) -> Dictionary:
    try:
        raw = orjson.loads(content)
        labels, rare = list(raw["labels"]), list(raw["rare"])
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{folder / LABELS}: not a dictionary of labels: {error!r}") from error
    if not all(isinstance(label, str) for label in labels + rare):
        raise ArtifactError(f"{folder / LABELS}: not a dictionary of labels: a label is no string")
    try:
        return Dictionary(labels, rare)
    except ValueError as error:
        raise ArtifactError(f"{folder / LABELS}: {error}") from error


def _read(folder: Path, name: str) -> bytes:
    path = folder / name
    try:
        if not path.is_file():
            path.stat()
            raise ArtifactError(f"{path}: not a regular file")
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > _MAX_BYTES:
                raise ArtifactError(f"{path}: larger than {_MAX_BYTES >> 20} MiB, which no artifact is")
            return file.read(size)
    except FileNotFoundError as error:
        hint = "train one with `otel-tracead train`" if name == MANIFEST else "the artifact is not whole"
        raise ArtifactError(f"{path}: no such file; {hint}") from error
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read: {error.strerror or error}") from error
