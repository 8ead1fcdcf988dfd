"""Where the model of a configuration lies, and how it becomes a detector."""

from pathlib import Path

import otel_tracead
from otel_tracead.detection.verdicts import Detector
from otel_tracead.errors import ArtifactError
from otel_tracead.processors.tracead.config import TraceadConfig


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
    from otel_tracead.detection.detector import DetectionSettings, load_detector

    return load_detector(
        folder,
        settings=DetectionSettings(
            false_positive_rate=config.detection.false_positive_rate,
            unknown_labels=config.unknown_labels,
            top_k=config.detection.top_k,
            confidence=config.detection.confidence,
        ),
        execution_provider=config.execution_provider,
        require_report_card=config.require_report_card,
    )
