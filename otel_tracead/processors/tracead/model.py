"""Where the model of a configuration lies, how it becomes a detector, and how one sees that another lies there."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import otel_tracead
from otel_tracead.detection.verdicts import Detector
from otel_tracead.errors import ArtifactError
from otel_tracead.processors.tracead.config import TraceadConfig

if TYPE_CHECKING:
    from otel_tracead.detection.detector import DetectionSettings

Stamp = tuple[object, ...]
"""What tells one state of a folder from another without reading its files; empty if there is none."""


def find_model(path: Path, base: Path) -> Path:
    """Give the folder of a model artifact: relative to *base* (of the YAML file), then to the package.

    The bundled model lies beside the package's modules in a wheel and at the root of a checkout.

    Raises:
        ArtifactError: it is in none of these places; says which.
    """
    package = Path(otel_tracead.__file__).parent
    places = list(dict.fromkeys(folder / path for folder in (base, package, package.parent)))
    for place in places:
        if place.is_dir():
            return place
    looked = ", ".join(map(str, places))
    raise ArtifactError(
        f"model {path} is not there (looked at {looked}); `otel-tracead train --input TRACES --output {path}` makes one"
    )


def load(config: TraceadConfig, base: Path) -> Detector:
    """Load the detector that *config* describes; *base* is the folder of the YAML file.

    Raises:
        ArtifactError: there is no such model, or it is refused.
        RuntimeError: CUDA was asked for and does not work.
    """
    folder = find_model(config.model, base)
    from otel_tracead.detection.detector import load_detector

    return load_detector(
        folder,
        settings=detection_settings(config),
        execution_provider=config.execution_provider,
        require_report_card=config.require_report_card,
    )


def detection_settings(config: TraceadConfig) -> "DetectionSettings":
    """Give what of *config* is for the detector."""
    from otel_tracead.detection.detector import DetectionSettings

    return DetectionSettings(
        false_positive_rate=config.detection.false_positive_rate,
        unknown_labels=config.unknown_labels,
        top_k=config.detection.top_k,
        confidence=config.detection.confidence,
    )


class Models(Protocol):
    """The models that configurations name; every call may take a while and belongs in a thread."""

    def stamp(self, config: TraceadConfig) -> Stamp:
        """Look at the folder, not at its files."""

    def digest(self, config: TraceadConfig) -> str:
        """Give the digest of the model that lies there.

        Raises:
            ArtifactError: there is no manifest of a model.
        """

    def load(self, config: TraceadConfig, current: Detector | None = None) -> Detector:
        """Load the detector; where the same model is in use by *current*, that one under the settings of *config*.

        Raises:
            ArtifactError: there is no such model, or it is refused.
            RuntimeError: CUDA was asked for and does not work.
        """


class ModelFolders:
    """The models on disk.

    Args:
        base: the folder that relative paths start from (of the YAML file).
    """

    def __init__(self, base: Path) -> None:
        self._base = base

    def stamp(self, config: TraceadConfig) -> Stamp:
        """See `Models.stamp`: the folder itself, and name, identity, size and time of each file."""
        try:
            folder = find_model(config.model, self._base).resolve()
            with os.scandir(folder) as entries:
                files = sorted((entry.name, *_state(entry)) for entry in entries)
        except (ArtifactError, OSError):
            return ()
        return (folder, *files)

    def digest(self, config: TraceadConfig) -> str:
        """See `Models.digest`."""
        from otel_tracead.artifact import folder as artifacts

        return artifacts.read_manifest(find_model(config.model, self._base)).digest

    def load(self, config: TraceadConfig, current: Detector | None = None) -> Detector:
        """See `Models.load`."""
        from otel_tracead.detection.detector import ArtifactDetector

        if isinstance(current, ArtifactDetector) and current.model.digest == self.digest(config):
            return current.with_settings(detection_settings(config))
        return load(config, self._base)


class Watch:
    """Decides when what lies in a folder is worth loading: once, and when nobody is still copying.

    Args:
        used: the stamp of what is in use.
    """

    def __init__(self, used: Stamp) -> None:
        self._done = {used}
        self._last = used

    def look(self, seen: Stamp) -> bool:
        """Say whether to load what was seen: it is neither in use nor was it tried, and is as it was at the last look."""
        settled, self._last = seen == self._last, seen
        return settled and seen not in self._done

    def done(self, seen: Stamp) -> None:
        """Note that what was seen is in use now, or was refused."""
        self._done = {seen}


def _state(entry: "os.DirEntry[str]") -> tuple[int, int, int]:
    found = entry.stat()
    return (found.st_ino, found.st_size, found.st_mtime_ns)
