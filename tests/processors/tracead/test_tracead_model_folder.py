"""A model folder that is replaced in every way that people replace folders, under a processor that watches it."""

import asyncio
import gc
import shutil
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest
from span_builders import encoded
from tracead_stage import Stage, until

from otel_tracead import metrics
from otel_tracead.artifact import folder as artifacts
from otel_tracead.artifact.manifest import ReportCard
from otel_tracead.detection.detector import ModelDetector
from otel_tracead.processors.tracead.bounds import Bounds
from otel_tracead.processors.tracead.config import TraceadConfig
from otel_tracead.processors.tracead.model import ModelFolders, Watch, load
from otel_tracead.processors.tracead.processor import TraceadProcessor
from tests.tiny_model import contents_of, learned, manifest_of, shop_traces, write_artifact

LOOK = 0.02


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two models: version 1 and version 2."""
    model = learned(shop_traces(duration_s=15))
    places = tuple(tmp_path_factory.mktemp("models") / version for version in "12")
    for place in places:
        write_artifact(place, model, version=place.name)
    return places  # type: ignore[return-value]


class Watched(Stage):
    """A stage whose model lies in a folder."""

    def __init__(self, folder: Path, **keys: object) -> None:
        always = {"execution_provider": "cpu", "unknown_labels": 1.0, "wait_duration": "1h"}
        super().__init__(model=str(folder), **{**always, **keys})
        models = ModelFolders(folder.parent)
        self.processor = TraceadProcessor(self.config, self.settings, self.backend, models, Bounds(look_seconds=LOOK))

    @property
    def version(self) -> str:
        (labels,) = dict(self.settings.telemetry.collect())[metrics.MODEL_INFO]
        return labels[2]

    async def looks(self, number: int = 6) -> None:
        await asyncio.sleep(number * LOOK)


@pytest.fixture
def place(both: tuple[Path, Path], tmp_path: Path) -> Path:
    """Where the stage looks: a copy of version 1."""
    return Path(shutil.copytree(both[0], tmp_path / "model"))


def steps_of_copying(source: Path, place: Path, names: list[str]) -> Iterator[None]:
    """Overwrite *place* file by file, each in two parts, as `cp -r` does."""
    for name in names:
        content = (source / name).read_bytes()
        half = len(content) // 2
        (place / name).write_bytes(content[:half])
        yield
        with (place / name).open("ab") as file:
            file.write(content[half:])
        yield


@pytest.mark.parametrize("manifest", ["first", "last"])
async def test_a_folder_that_is_overwritten_is_taken_when_it_is_whole(
    both: tuple[Path, Path], place: Path, manifest: str
) -> None:
    names = sorted(path.name for path in both[1].iterdir())
    names.sort(key=lambda name: (name != "manifest.json") == (manifest == "first"))
    async with Watched(place) as stage:
        for _ in steps_of_copying(both[1], place, names):
            await stage.looks(2)  # slower than anybody copies: half-copied folders are looked at, and refused
            assert stage.version == "1" or all((place / name).stat().st_size for name in names)
        await until(lambda: stage.version == "2")
        assert stage.value(metrics.MODEL_LOADS, "loaded") == 1


async def test_a_quick_copy_is_not_even_looked_at_before_it_is_whole(both: tuple[Path, Path], place: Path) -> None:
    names = sorted(path.name for path in both[1].iterdir())
    async with Watched(place) as stage:
        for _ in steps_of_copying(both[1], place, names):
            pass
        await until(lambda: stage.version == "2")
        assert stage.value(metrics.MODEL_LOADS, "refused") == 0


async def test_rsync_renames_one_file_after_the_other(both: tuple[Path, Path], place: Path) -> None:
    async with Watched(place) as stage:
        for path in sorted(both[1].iterdir()):
            part = place / f".{path.name}.Xq2a"
            part.write_bytes(path.read_bytes())
            await stage.looks(1)
            part.rename(place / path.name)
        await until(lambda: stage.version == "2")


async def test_a_symbolic_link_is_turned(both: tuple[Path, Path], tmp_path: Path) -> None:
    link = tmp_path / "current"
    link.symlink_to(both[0])
    async with Watched(link) as stage:
        new = tmp_path / "new"
        new.symlink_to(both[1])
        new.rename(link)
        await until(lambda: stage.version == "2")
        assert stage.value(metrics.MODEL_LOADS, "refused") == 0


async def test_the_folder_is_moved_away_and_another_moved_in(both: tuple[Path, Path], place: Path) -> None:
    async with Watched(place) as stage:
        shutil.move(place, place.with_name("old"))
        await stage.looks()
        assert stage.version == "1"
        shutil.copytree(both[1], place.with_name("new")).rename(place)
        await until(lambda: stage.version == "2")
        await stage.send(encoded(1, 1))
    assert len(stage.backend.got) == 1


async def test_a_changed_file_is_refused(place: Path) -> None:
    async with Watched(place) as stage:
        content = bytearray((place / "model.onnx").read_bytes())
        content[len(content) // 2] ^= 1
        (place / "model.onnx").write_bytes(content)
        (place / "manifest.json").write_bytes((place / "manifest.json").read_bytes().replace(b'"1"', b'"9"', 1))
        await until(lambda: stage.value(metrics.MODEL_LOADS, "refused"))
        await stage.looks()
        assert stage.version == "1"
        assert stage.value(metrics.MODEL_LOADS, "refused") == 1


@pytest.mark.parametrize("required", [True, False])
async def test_a_model_whose_check_did_not_hold_needs_permission(place: Path, required: bool) -> None:
    model = learned(shop_traces(duration_s=15))
    failed = ReportCard(passed=False, reasons=("no better than chance",), figures={"auc": 0.5}, words=())
    changes = {"version": "2", "report_card": failed}
    async with Watched(place, require_report_card=required) as stage:
        artifacts.save(place, manifest_of(model).model_copy(update=changes), contents_of(model))
        outcome = "refused" if required else "loaded"
        await until(lambda: stage.value(metrics.MODEL_LOADS, outcome))
        assert stage.version == ("1" if required else "2")


async def test_other_settings_go_on_with_the_same_network_and_what_it_remembers(place: Path) -> None:
    stage = Watched(place)
    async with stage:
        before = stage.processor._judging.detector  # type: ignore[union-attr]
        assert isinstance(before, ModelDetector)
        keys = {"model": str(place), "detection": {"false_positive_rate": 0.2}, "execution_provider": "cpu"}
        config = TraceadConfig.model_validate(keys)
        async with stage.processor.revision(config, stage.settings):
            pass
        after = stage.processor._judging.detector  # type: ignore[union-attr]
        assert isinstance(after, ModelDetector)
        assert after is not before
        assert (after._scorer, after._drift, after._recent) == (before._scorer, before._drift, before._recent)
        assert after.threshold == load(config, place.parent).threshold  # type: ignore[attr-defined]


async def test_a_replaced_network_is_let_go_of(both: tuple[Path, Path], place: Path) -> None:
    stage = Watched(place, wait_duration="10ms")
    async with stage:
        session = weakref.ref(stage.processor._judging.detector._scorer._session)  # type: ignore[union-attr, attr-defined]
        shutil.copytree(both[1], place, dirs_exist_ok=True)
        await until(lambda: stage.version == "2")
        gc.disable()  # what lives long is out of the collector's rounds
        try:
            await stage.send(encoded(1, 1))
            await until(lambda: session() is None)
        finally:
            gc.enable()


def test_a_watch_asks_for_what_is_new_and_settled() -> None:
    watch = Watch(("a",))
    assert [watch.look((state,)) for state in "aabbcdd"] == [False, False, False, True, False, False, True]
    watch.done(("d",))
    assert [watch.look((state,)) for state in "dda"] == [False, False, False]
    assert watch.look(("a",))  # the one before is put back


def test_there_may_be_no_folder(tmp_path: Path) -> None:
    config = TraceadConfig.model_validate({"model": str(tmp_path / "nowhere")})
    assert ModelFolders(tmp_path).stamp(config) == ()
