"""Where the spans of a benchmark come from: real ones where they are there, else the simulated shop."""

import gzip
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from benchmarks.targets.traffic import folder
from otel_tracead.generator import Scenario, requests, simulate
from otel_tracead.wire import otlp, otlp_json
from otel_tracead.wire.batch import Envelope
from otel_tracead.wire.otlp import Envelopes

ROOT: Final = Path(__file__).parent.parent
BUNDLED: Final = ROOT / "model_artifacts" / "shop"
REAL_MODEL: Final = ROOT / "build" / "online-boutique"
"""What `make bench-model` trains of the real traces; no model of them is bundled."""
_MINUTES: Final = ("0353", "0354", "0402", "0403")
START_UNIX_NANO: Final = 1_767_603_600_000_000_000
"""When the simulated shop begins: 2026-01-05, a Monday, 09:00 UTC, an ordinary hour."""


@dataclass(frozen=True, slots=True)
class Source:
    """Spans and the model that knows them.

    Attributes:
        inputs: files of OTLP JSON lines; none for the simulated shop.
        model: the model artifact.
    """

    inputs: tuple[Path, ...]
    model: Path

    @property
    def real(self) -> bool:
        """Whether these are spans of a real system."""
        return bool(self.inputs)

    def spans(self, count: int) -> list[tuple[Envelope, bytes]]:
        """Give up to *count* spans in the order in which they come."""
        return list(islice(_stored(self.inputs) if self.inputs else _simulated(), count))

    def words(self, count: int) -> str:
        """Say where *count* spans came from, without a path of this machine."""
        return f"{count:,} spans of {', '.join(path.name for path in self.inputs) or 'the simulated shop'}"


def simulated() -> Source:
    """Give the simulated shop, and the bundled model, which knows it."""
    return Source((), BUNDLED)


def source(inputs: Iterable[Path] = (), model: Path | None = None) -> Source:
    """Give the source that was asked for; by default the real traces, if they and a model of them are there."""
    chosen = tuple(inputs)
    if not chosen and (model or REAL_MODEL).is_dir():
        home = folder() / "online_boutique"
        found = tuple(home / f"{minute}.jsonl.gz" for minute in _MINUTES)
        chosen = found if model is None and all(path.exists() for path in found) else ()
    return Source(chosen, model or (REAL_MODEL if chosen else BUNDLED))


def _simulated() -> Iterator[tuple[Envelope, bytes]]:
    """The shop in an ordinary hour, without faults, as its services' SDKs export."""
    scenario = Scenario(seed=1, start_unix_nano=START_UNIX_NANO, duration_s=3600, traces_per_second=50)
    envelopes = Envelopes()
    for _, body in requests(simulate(scenario)):
        yield from otlp.decode_request(body, envelopes)


def _stored(paths: Iterable[Path]) -> Iterator[tuple[Envelope, bytes]]:
    envelopes = Envelopes()
    for path in paths:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as lines:
            for line in lines:
                yield from otlp_json.decode_request(line, envelopes)
