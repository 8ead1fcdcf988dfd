"""What happens on the stand-in, step by step, as JSON: `python -m tests.cuda_stand_in.walk NETWORK`, libraries on the path."""

import ctypes
import json
import sys
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from otel_tracead.detection import onnx_sessions
from otel_tracead.detection import session as sessions
from otel_tracead.detection.session import Session

COUNTERS = ("launches", "copies", "copied", "device_waits", "event_waits", "pinned")
OUTPUTS = ("label_surprise", "time_surprise")
ILLEGAL_ADDRESS = 700


class Walk:
    """The network, the stand-in's counters, and what was found."""

    def __init__(self, network: bytes) -> None:
        self.network = network
        self.library = ctypes.CDLL("libcudart.so.13")
        plain = onnx_sessions._session(network, 1, ["CPUExecutionProvider"])
        self.inputs = {one.name: (one.type, one.shape) for one in plain.get_inputs()}

    def feeds(self, rows: int, width: int) -> dict[str, Any]:
        given = {}
        for name, (kind, shape) in self.inputs.items():
            sizes = [rows, *(width if isinstance(size, str) else size for size in shape[1:])]
            given[name] = np.ones(sizes, np.int32 if kind == "tensor(int32)" else np.float32)
        return given

    def try_out(self, run: Any) -> None:
        run(OUTPUTS, self.feeds(1, 5))

    def counted(self, work: Any) -> dict[str, int]:
        counters = {name: ctypes.c_long.in_dll(self.library, f"standin_{name}") for name in COUNTERS}
        for counter in counters.values():
            counter.value = 0
        work()
        return {name: counter.value for name, counter in counters.items()}

    def set(self, name: str, value: int) -> None:
        ctypes.c_long.in_dll(self.library, f"standin_{name}").value = value

    def fail_after(self, launches: int) -> None:
        ctypes.c_int.in_dll(self.library, "standin_failure").value = ILLEGAL_ADDRESS
        self.set("launches_left", launches)


def placed(walk: Walk) -> dict[str, dict[str, int]]:
    """Say how many nodes of which kind each provider takes, with the copies that were put in."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    session = onnxruntime.InferenceSession(
        walk.network, options, ["CUDAExecutionProvider", "CPUExecutionProvider"], enable_fallback=0
    )
    found: dict[str, Counter[str]] = {}
    for part in session.get_provider_graph_assignment_info():
        found.setdefault(part.ep_name, Counter()).update(node.op_type for node in part.get_nodes())
    return {name: dict(kinds) for name, kinds in found.items()}


def state(session: Session) -> dict[str, str]:
    return {"execution_provider": session.execution_provider, "trouble": session.trouble}


def runs(walk: Walk, session: Session) -> dict[str, Any]:
    """Count what runs do."""
    found = {}
    for rows in (16, 128):
        feeds = walk.feeds(rows, 40)
        session.run(OUTPUTS, feeds)
        counted = walk.counted(partial(session.run, OUTPUTS, feeds))
        found[f"run of {rows}"] = counted | {"bytes of input": sum(array.nbytes for array in feeds.values())}
    several = [walk.feeds(64, 40)] * 5
    list(session.stream(OUTPUTS, several))
    found["stream of 5"] = walk.counted(lambda: list(session.stream(OUTPUTS, several)))
    return found


def failures(walk: Walk, session: Session) -> dict[str, Any]:
    """Run out of memory, and then let the device fail for good."""
    found: dict[str, Any] = {}
    walk.set("largest", 1 << 20)
    rows = len(session.run(OUTPUTS, walk.feeds(600, 60))[0])
    found["without memory"] = {"rows": rows, "most": session._most} | state(session)
    walk.set("largest", -1)
    walk.fail_after(20)
    feeds = walk.feeds(9, 40)
    here = session.run(OUTPUTS, feeds)
    there = onnx_sessions.cpu(walk.network, 1)(OUTPUTS, feeds)
    found["failed"] = {"equal": all(map(np.array_equal, here, there))} | state(session)
    return found


def main() -> None:
    walk = Walk(Path(sys.argv[1]).read_bytes())
    found: dict[str, Any] = {"placed": placed(walk)}
    found["unconfirmed"] = state(Session(walk.network, walk.try_out))
    sessions._DIFFERENCE = 1e9  # the stand-in computes nothing
    for work in (runs, failures):
        found |= work(walk, Session(walk.network, walk.try_out, provider="cuda"))
    found["loaded after"] = state(Session(walk.network, walk.try_out))
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
