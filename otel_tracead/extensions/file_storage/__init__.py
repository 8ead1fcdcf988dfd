"""Records on disk: what a component has taken survives the death of the process."""

from otel_tracead.component import Factory, Kind, Settings
from otel_tracead.extensions.file_storage.config import FileStorageConfig
from otel_tracead.extensions.file_storage.extension import FileStorage, directory, missing


def _check(config: FileStorageConfig, settings: Settings) -> list[str]:
    problem = "" if config.create_directory else missing(directory(config, settings))
    return [problem] if problem else []


FACTORY = Factory(
    name="file_storage",
    kind=Kind.EXTENSION,
    config=FileStorageConfig,
    build=lambda config, settings, _consumer: FileStorage(config, settings),
    check=_check,
)

__all__ = ["FACTORY", "FileStorage", "FileStorageConfig"]
