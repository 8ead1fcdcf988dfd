"""An artifact on disk: what was saved is loaded, and whatever is wrong with it is refused, by name."""

import hashlib
import io
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import onnx
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_model import contents_of, manifest_of

from otel_tracead.artifact import arrays, folder
from otel_tracead.artifact import calibration as calibrations
from otel_tracead.artifact import manifest as manifests
from otel_tracead.artifact.manifest import SCHEMA_VERSION
from otel_tracead.errors import ArtifactError
from otel_tracead.traces.dictionary import Dictionary

FILES = (folder.MANIFEST, folder.NETWORK, folder.LABELS, folder.CALIBRATION, folder.REPORT)


@pytest.fixture(scope="module")
def parts(tiny_model):
    return manifest_of(tiny_model), contents_of(tiny_model)


@pytest.fixture
def saved(tmp_path, parts):
    folder.save(tmp_path / "model", *parts)
    return tmp_path / "model"


def with_file(path: Path, parts, name: str, content: bytes) -> Path:
    """Save an artifact whose checksums are right and whose file *name* is not."""
    folder.save(path, parts[0], parts[1] | {name: content})
    return path


def with_manifest(path: Path, **changes: object) -> Path:
    """Change the manifest and seal it again."""
    raw = orjson.loads((path / folder.MANIFEST).read_bytes()) | changes
    raw.pop("digest")
    (path / folder.MANIFEST).write_bytes(manifests.Manifest.model_validate(raw).sealed().encode())
    return path


def refused(path: Path, *words: str) -> None:
    with pytest.raises(ArtifactError) as error:
        folder.load(path)
    for word in (str(path), *words):
        assert word in str(error.value)


def test_what_was_saved_is_loaded(saved, tiny_model):
    found = folder.load(saved)
    assert found.network == tiny_model.network
    assert found.dictionary.labels == tiny_model.dictionary.labels
    assert found.dictionary.rare == tiny_model.dictionary.rare
    assert found.calibration.dump() == tiny_model.calibration.dump()
    for name in ("center", "scale", "typical_us", "order", "seen", "contexts", "counts", "transitions"):
        np.testing.assert_array_equal(getattr(found.calibration, name), getattr(tiny_model.calibration, name))
    assert found.manifest.name == "tiny"


def test_saving_twice_gives_the_same_bytes(saved, tmp_path, parts):
    folder.save(tmp_path / "again", *parts)
    for name in FILES:
        assert (saved / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_saving_over_an_artifact_replaces_it(saved, parts):
    folder.save(saved, parts[0].model_copy(update={"version": "2"}), parts[1])
    assert folder.load(saved).manifest.version == "2"


def test_a_folder_that_cannot_be_written_is_named(tmp_path, parts):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ArtifactError, match="file/model: cannot be written"):
        folder.save(tmp_path / "file" / "model", *parts)


@pytest.mark.parametrize("name", FILES)
def test_every_byte_counts(saved, name):
    content = (saved / name).read_bytes()
    places = {0, len(content) // 2, len(content) - 2, *range(7, len(content), max(1, len(content) // 40))}
    for place in places:
        for bit in (0x01, 0x20, 0x80):
            changed = bytearray(content)
            changed[place] ^= bit
            (saved / name).write_bytes(changed)
            if name == folder.MANIFEST and bytes(changed).lower() == content.lower() and b"1E-0" in changed:
                folder.load(saved)  # 1e-07 became 1E-07, the same number
            else:
                refused(saved, name)
    (saved / name).write_bytes(content[:-3])
    refused(saved, name)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(saved, name):
    (saved / name).unlink()
    refused(saved, name, "no such file", "otel-tracead train" if name == folder.MANIFEST else "not whole")


@pytest.mark.parametrize("name", FILES)
def test_a_huge_file_is_not_read(saved, name):
    os.truncate(saved / name, 1 << 40)
    refused(saved, name, "larger than 512 MiB")


@pytest.mark.parametrize("name", FILES)
def test_what_is_no_file_is_not_waited_for(saved, name):
    (saved / name).unlink()
    os.mkfifo(saved / name)
    refused(saved, name, "not a regular file")


def test_a_file_that_may_not_be_read(saved, monkeypatch):
    def denied(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)
    refused(saved, "manifest.json: cannot be read: Permission denied")


def test_another_schema_version(saved):
    raw = orjson.loads((saved / folder.MANIFEST).read_bytes())
    for version in (SCHEMA_VERSION + 1, SCHEMA_VERSION - 1, 0, None, "1", [1]):
        (saved / folder.MANIFEST).write_bytes(orjson.dumps(raw | {"schema_version": version}))
        refused(saved, "manifest.json", "schema version", "train the model again")
    (saved / folder.MANIFEST).write_bytes(b"[]")
    refused(saved, "schema version None")


def test_a_manifest_of_another_shape(saved):
    raw = orjson.loads((saved / folder.MANIFEST).read_bytes())
    for changes, words in (
        ({"network": raw["network"] | {"state": -1}}, "network::state"),
        ({"more": 1}, "more"),
        ({"report_card": {}}, "report_card::passed"),
        ({"name": ""}, "name"),
    ):
        (saved / folder.MANIFEST).write_bytes(orjson.dumps(raw | changes))
        refused(saved, "manifest.json", words)


def test_a_network_with_data_in_other_files_is_refused(tmp_path, parts, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights.bin").write_bytes(bytes(1024))
    for place in ("weights.bin", "../weights.bin", "/etc/hostname"):
        model = onnx.load_model_from_string(parts[1][folder.NETWORK])
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=place)
        refused(with_file(tmp_path / "model", parts, folder.NETWORK, model.SerializeToString()), "external data")


@pytest.mark.parametrize("name", ["../labels.json", "/etc/passwd", "a/b", "..", ".hidden", "", "a\0b", "line\nbreak"])
def test_files_outside_the_artifact_are_not_touched(saved, name):
    files = orjson.loads((saved / folder.MANIFEST).read_bytes())["files"]
    with_manifest(saved, files={name: "0" * 64} | files)
    refused(saved, "names a file outside the artifact")


def test_more_files_than_any_artifact_has(saved):
    files = orjson.loads((saved / folder.MANIFEST).read_bytes())["files"]
    with_manifest(saved, files=files | {f"file{number}": "0" * 64 for number in range(100)})
    refused(saved, "104 files")


def test_a_manifest_that_leaves_a_file_out(saved):
    files = orjson.loads((saved / folder.MANIFEST).read_bytes())["files"]
    for name in FILES[1:]:
        with_manifest(saved, files={other: checksum for other, checksum in files.items() if other != name})
        refused(saved, f"names no {name}")


def test_another_file_is_welcome_and_verified(tmp_path, parts):
    path = with_file(tmp_path / "model", parts, "notes.txt", b"hello")
    folder.load(path)
    (path / "notes.txt").write_bytes(b"hallo")
    refused(path, "notes.txt", "checksum")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b'{"labels": ["!0", "!rare"]}',
        b'{"labels": ["!0"], "rare": []}',
        b'{"labels": ["!0", "!rare", "a", "a"], "rare": []}',
        b'{"labels": ["!0", "!rare", 7], "rare": []}',
        b'{"labels": ["!0", "!rare", ["a"]], "rare": []}',
        b'{"labels": {"!0": 0}, "rare": []}',
        b'{"labels": "!0", "rare": []}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_dictionary(tmp_path, parts, content):
    refused(with_file(tmp_path / "model", parts, folder.LABELS, content), "labels.json")


def npz(arrays: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, encoded in arrays.items():
            archive.writestr(f"{name}.npy", encoded)
    return out.getvalue()


def npy(array: np.ndarray, **options: object) -> bytes:
    out = io.BytesIO()
    np.lib.format.write_array(out, array, **options)
    return out.getvalue()


def unpacked(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {info.filename.removesuffix(".npy"): archive.read(info) for info in archive.infolist()}


class Boom:
    def __reduce__(self):
        return (pytest.fail, ("something in the artifact was executed",))


def test_arrays_that_are_not_what_they_should_be(tmp_path, parts, tiny_model):
    good = parts[1][folder.CALIBRATION]
    arrays = unpacked(good)
    c = tiny_model.calibration
    labels = len(tiny_model.dictionary)

    def changed(array: np.ndarray, place: object, value: object) -> bytes:
        array = array.copy()
        array[place] = value
        return npy(array)

    bad: dict[str, tuple[str, bytes]] = {
        "missing": ("center", b""),
        "NaN": ("center", changed(c.center, 1, np.nan)),
        "typical time is no finite": ("center", changed(c.center, 1, np.inf)),
        "spread is no positive": ("scale", changed(c.scale, 0, 0.0)),
        "quantiles do not increase": ("trace_knots", changed(c.trace_tail.knots, (0, 1), -5.0)),
        "quantiles begin": ("channel_knots", npy(np.full_like(c.channel_tails.knots, np.inf))),
        "slope": ("time_slope", changed(c.time_tails.slope, 0, -1.0)),
        "looks back": ("order", changed(c.order, 0, 1000)),
        "not sorted": ("seen", npy(c.seen[::-1].copy())),
        "count is negative": ("counts", changed(c.counts, 0, -1)),
        "not in the dictionary": ("transitions", changed(c.transitions, (0, 2), labels)),
        "'scale' has type float64 and shape": ("scale", npy(c.scale[:-1])),
        "'typical_us' has type float32": ("typical_us", npy(c.typical_us.astype(np.float32))),
        "'counts' has type": ("counts", npy(c.counts[:-1])),
        "an array of type object": ("center", npy(np.array([Boom()], object), allow_pickle=True)),
        "an array of type [('x', '<f8')]": ("center", npy(np.zeros(labels, [("x", "f8")]))),
        "an array of type complex128": ("scale", npy(np.zeros(labels, complex))),
        "an array of type int64": ("transitions", npy(np.asfortranarray(c.transitions))),
        "not an archive of arrays": ("center", pickle.dumps(Boom())),
        "another version": ("center", npy(c.center, version=(2, 0))),
    }
    for words, (name, encoded) in bad.items():
        now = {key: value for key, value in (arrays | {name: encoded}).items() if value}
        path = with_file(tmp_path / "model", parts, folder.CALIBRATION, npz(now))
        refused(path, "calibration.npz", words)
    path = with_file(tmp_path / "model", parts, folder.CALIBRATION, npz(arrays))
    folder.load(path)
    swapped = npz(arrays | {"center": npy(c.center.astype(">f8"))})
    path = with_file(tmp_path / "model", parts, folder.CALIBRATION, swapped)
    np.testing.assert_array_equal(folder.load(path).calibration.center, c.center)


def test_a_header_is_not_believed(tmp_path, parts):
    """Numpy's own reader would allocate what the header says."""
    encoded = npy(np.zeros(8))
    for shape in (b"(1" + b"0" * 13 + b",)", b"(-1,)", b"(8, 8)"):
        header = encoded.replace(b"(8,)", shape)
        wanted = len(encoded) - 64
        cut = header.index(b"}") + 1
        header = header[:cut] + b" " * (wanted - 1 - cut) + b"\n" + encoded[wanted:]
        path = with_file(
            tmp_path / "model",
            parts,
            folder.CALIBRATION,
            npz(unpacked(parts[1][folder.CALIBRATION]) | {"center": header}),
        )
        refused(path, "calibration.npz")


def test_a_bomb_is_not_unpacked(tmp_path, parts, monkeypatch):
    monkeypatch.setattr(arrays, "_MAX_BYTES", 100_000)
    bomb = npz({"center": bytes(200_000)})
    refused(with_file(tmp_path / "model", parts, folder.CALIBRATION, bomb), "calibration.npz", "unpacks to")
    # One that lies about its size is cut there, and its checksum is then wrong.
    lying = bomb.replace((200_000).to_bytes(4, "little"), (50_000).to_bytes(4, "little"))
    refused(with_file(tmp_path / "model", parts, folder.CALIBRATION, lying), "calibration.npz")


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, zipfile.ZIP_DEFLATED])
@given(place=st.floats(0, 1), value=st.integers(1, 255))
def test_a_broken_archive_never_fails_otherwise(method, place, value):
    """Checksums keep accidents out; what was broken on purpose has the right checksum."""
    content = bytearray(npz({"center": npy(np.zeros(50)), "scale": npy(np.ones(50))}, method))
    content[int(place * (len(content) - 1))] ^= value
    with pytest.raises(ArtifactError, match=r"calibration\.npz"):
        calibrations.load(bytes(content), 50)


def test_checksums_are_of_the_files(saved):
    files = folder.load(saved).manifest.files
    assert files == {name: hashlib.sha256((saved / name).read_bytes()).hexdigest() for name in FILES[1:]}


def test_a_dictionary_survives():
    found = folder.encode_dictionary(Dictionary(["!0", "!rare", "a → b", "ü"], ["z", "y"]))
    assert orjson.loads(found) == {"labels": ["!0", "!rare", "a → b", "ü"], "rare": ["y", "z"]}


@pytest.mark.parametrize("levels", [100, 250, 300, 900])
def test_a_manifest_that_nests_deeply_is_refused(saved, levels):
    manifest = orjson.loads((saved / folder.MANIFEST).read_bytes())
    deep = b"[" * levels + b"]" * levels
    content = orjson.dumps({**manifest, "training": {"deep": "here"}}).replace(b'"here"', deep)
    (saved / folder.MANIFEST).write_bytes(content)
    with pytest.raises(ArtifactError, match=r"manifest\.json"):
        folder.load(saved)


@pytest.mark.parametrize("field", ["name", "version"])
def test_a_name_that_cannot_be_printed_is_refused(tmp_path, parts, field):
    manifest, contents = parts
    folder.save(tmp_path, manifest.model_copy(update={field: "a\x1b[31m"}), contents)
    with pytest.raises(ArtifactError, match=f"{field}.*cannot be printed"):
        folder.load(tmp_path)
