"""Model artifacts: a real one, changed in one place; checksums are put right, so that what lies behind them is read."""

import hashlib
import io
import json
import random
import tempfile
import warnings
import zipfile
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import orjson

from fuzz import mutation
from fuzz.target import Target, folder_in_memory
from otel_tracead.artifact import folder
from otel_tracead.detection.detector import from_artifact
from otel_tracead.detection.rules import DetectionSettings
from otel_tracead.errors import ArtifactError
from otel_tracead.traces.trace import Trace
from tests.tiny_model import learned, shop_traces, write_artifact

_RAW, _SEALED, _LABELS, _NUMBERS, _ARRAY, _NETWORK = range(6)
_FORMS: Final = 6


@cache
def _traces() -> list[Trace]:
    return shop_traces(duration_s=5)


@cache
def _whole() -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as made:
        write_artifact(Path(made), learned(shop_traces(duration_s=15)))
        return {file.name: file.read_bytes() for file in Path(made).iterdir()}


@cache
def _arrays() -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(_whole()[folder.CALIBRATION])) as archive:
        return {one: archive.read(one) for one in archive.namelist()}


@cache
def _place() -> Path:
    return folder_in_memory()


def _run(data: bytes) -> None:
    files = dict(_whole())
    form, data = (data[0] % _FORMS if data else 0), data[1:]
    manifest = orjson.loads(files[folder.MANIFEST])
    if form == _RAW:
        files[folder.MANIFEST] = data
    else:
        if form == _SEALED:
            try:
                manifest = orjson.loads(data)
            except orjson.JSONDecodeError:
                return
        elif form == _ARRAY:
            files[folder.CALIBRATION] = _with_array(data)
        else:
            files[{_LABELS: folder.LABELS, _NUMBERS: folder.CALIBRATION}.get(form, folder.NETWORK)] = data
        files[folder.MANIFEST] = _sealed(manifest, files)
    place = _place()
    for name, content in files.items():
        (place / name).write_bytes(content)
    with np.errstate(all="ignore"), warnings.catch_warnings(action="ignore"):
        try:
            artifact = folder.load(place)
            if form == _NETWORK:  # ONNX Runtime is not ours to fuzz
                return
            detector = from_artifact(artifact, DetectionSettings(unknown_labels=1.0), "cpu", 1)
        except ArtifactError:
            return
        detector.judge(_traces())


def _sealed(manifest: object, files: dict[str, bytes]) -> bytes:
    """Put the checksums and the digest right, where the manifest still has a place for them."""
    if not isinstance(manifest, dict):
        return json.dumps(manifest).encode()
    named = manifest.get("files")
    if isinstance(named, dict):
        known = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
        manifest["files"] = {name: known.get(name, value) for name, value in named.items()}
    try:
        from otel_tracead.artifact.manifest import Manifest

        return Manifest.model_validate(manifest).sealed().encode()
    except (ValueError, TypeError, RecursionError):
        return json.dumps(manifest).encode("utf-8", "replace")  # nests as deep as what came


def _with_array(data: bytes) -> bytes:
    """Put other bytes in the place of one array."""
    arrays = dict(_arrays())
    names = sorted(arrays)
    arrays[names[data[0] % len(names)] if data else names[0]] = data[1:]
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in arrays.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return out.getvalue()


_KEYS: Final = (
    "files",
    "labels",
    "template",
    "patterns",
    "order",
    "network",
    "state",
    "model.onnx",
    "../x",
    "detector",
)
_json: Final = mutation.json_text(_KEYS)


def _mutate(data: bytes, choice: random.Random) -> bytes:
    form = data[0] % _FORMS if data else 0
    if form in (_RAW, _SEALED, _LABELS):
        return data[:1] + _json(data[1:], choice)
    if form != _ARRAY or choice.random() < 0.3:
        return data[:1] + mutation.any_bytes(data[1:], choice)
    names = sorted(_arrays())
    which = data[1] % len(names) if len(data) > 1 and choice.random() < 0.8 else choice.randrange(len(names))
    try:
        array = np.lib.format.read_array(io.BytesIO(data[2:] if choice.random() < 0.8 else _arrays()[names[which]]))
    except Exception:  # noqa: BLE001 (numpy has no error of its own)
        return data[:1] + mutation.any_bytes(data[1:], choice)
    with np.errstate(all="ignore"):
        return data[:1] + bytes((which,)) + _packed(_changed(array, choice))


def _changed(array: npt.NDArray[Any], choice: random.Random) -> npt.NDArray[Any]:
    changed = array.copy()
    if changed.size and choice.random() < 0.7:
        at = choice.randrange(changed.size)
        if changed.dtype.kind == "f":
            changed.flat[at] = choice.choice(
                (0.0, -0.0, 1.0, -1.0, np.nan, np.inf, -np.inf, 1e308, 5e-324, 1e-300, 3.5)
            )
        else:
            info = np.iinfo(changed.dtype)
            changed.flat[at] = choice.choice((0, 1, info.max, info.min, info.max - 1, min(77, info.max)))
        return changed
    return choice.choice((changed[:-1], changed[:0], changed.ravel(), np.repeat(changed, 2, 0), changed.astype("f4")))


def _packed(array: npt.NDArray[Any]) -> bytes:
    out = io.BytesIO()
    np.lib.format.write_array(out, np.ascontiguousarray(array), allow_pickle=False)
    return out.getvalue()


def _seeds() -> list[bytes]:
    whole, arrays = _whole(), _arrays()
    small = [
        bytes((_ARRAY, index)) + arrays[name] for index, name in enumerate(sorted(arrays)) if len(arrays[name]) < 4096
    ]
    return [
        bytes((_RAW,)) + whole[folder.MANIFEST],
        bytes((_SEALED,)) + whole[folder.MANIFEST],
        bytes((_LABELS,)) + whole[folder.LABELS],
        bytes((_NUMBERS,)) + whole[folder.CALIBRATION][:4096],
        *small,
    ]


ARTIFACT: Final = Target(
    name="artifact",
    what="model artifacts whose manifest, labels or numbers were changed; refused, or they load and judge",
    run=_run,
    seeds=_seeds,
    mutate=_mutate,
    instrumented=("otel_tracead.artifact", "otel_tracead.detection"),
)
