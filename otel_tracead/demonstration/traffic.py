"""Simulated traffic with faults, sent over a real socket through the stage that `run` runs without configuration."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from otel_tracead.component import Kind
from otel_tracead.errors import TraceadError
from otel_tracead.generator import Scenario, Simulation, Truth, simulate, standard_faults
from otel_tracead.generator.encoding import batches, encode_request
from otel_tracead.generator.sinks import endpoint_sink
from otel_tracead.receivers.otlp.receiver import OtlpReceiver
from otel_tracead.service import running
from otel_tracead.service.embedded import YAML
from otel_tracead.service.uris import merge
from otel_tracead.service.yaml_text import load_yaml

SCENARIO: Final = Scenario(
    seed=1,
    start_unix_nano=1_767_272_400 * 10**9,  # 2026-01-01T13:00:00Z, in the past for every backend
    duration_s=240.0,
    daily_swing=0.0,
    faults=standard_faults(240.0, 1),
)
WAIT_S: Final = 3.0
"""How long a trace waits for its spans. Four minutes pass in seconds here, so the usual 10 s would be minutes."""

_FREE: Final = "127.0.0.1:0"


@dataclass(frozen=True, slots=True)
class Sent:
    """What went in.

    Attributes:
        truth: what really happened.
        spans: how many.
    """

    truth: Truth
    spans: int


def configuration(output: Path, model: Path) -> dict[str, Any]:
    """Give the embedded default on free ports, with *model*, writing to *output* and nothing to the terminal."""
    default = cast("dict[str, Any]", load_yaml(YAML, "the embedded default"))
    del default["exporters"]["debug"], default["exporters"]["file"]["rotation"]  # a rotated file is appended to
    return merge(
        default,
        {
            "receivers": {
                "otlp": {"protocols": {"grpc": {"endpoint": _FREE}, "http": {"endpoint": _FREE}}},
                "zipkin": {"endpoint": _FREE},
            },
            "processors": {"tracead": {"model": str(model), "wait_duration": f"{WAIT_S:g}s"}},
            "exporters": {"file": {"path": str(output)}},
            "service": {"pipelines": {"traces": {"exporters": ["file"]}}},
        },
    )


async def send(
    output: Path, model: Path, scenario: Scenario, progress: Callable[[float], None] = lambda _share: None
) -> Sent:
    """Send the traffic of *scenario* through the stage; it has drained when this returns.

    Args:
        output: the file of annotated traces; an older one is replaced.
        model: the folder of the model artifact.
        scenario: what is simulated.
        progress: told, from another thread, the share of the simulated time that was sent.

    Raises:
        TraceadError: the stage cannot start, or does not take or hand on every span.
    """
    run = simulate(scenario)
    try:
        async with running(configuration(output, model), base=Path.cwd()) as service:
            receiver = cast("OtlpReceiver", service.component(Kind.RECEIVER, "otlp"))
            spans = await asyncio.to_thread(_send, run, f"http://127.0.0.1:{receiver.ports['grpc']}", progress)
            # Let the last traces be released because they waited, as in ordinary operation, and not by the shutdown.
            await asyncio.sleep(WAIT_S + 0.5)
    except RuntimeError as error:
        raise TraceadError(f"the stage did not drain: {error}") from error
    return Sent(run.truth, spans)


def _send(run: Simulation, endpoint: str, progress: Callable[[float], None]) -> int:
    begin, length = run.scenario.start_unix_nano, run.scenario.duration_s * 1e9
    sent = 0
    with endpoint_sink(endpoint) as write:
        for at, spans in batches(run):
            write(encode_request(spans))
            sent += len(spans)
            progress(min(1.0, (at - begin) / length))
    return sent
