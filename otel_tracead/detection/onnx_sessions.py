"""Makes ONNX Runtime's sessions, on the CPU and on CUDA, so that they keep to themselves what they see and say."""

import contextlib
import io
import os
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Final

from otel_tracead.detection.bound_runs import BoundRuns, Feeds
from otel_tracead.detection.cuda import CudaDevice, Device

_CUDA: Final = "CUDAExecutionProvider"
_CPU: Final = "CPUExecutionProvider"
_MOST_MEMORY: Final = 2 << 30
"""Bytes that all networks of this process may use in the computer's memory: ten times what the largest of ours need."""


def cpu(model: bytes, threads: int) -> Callable[[Sequence[str], Feeds], list[Any]]:
    """Make a session on the CPU; gives what runs it.

    Raises:
        Exception: ONNX Runtime cannot run the model.
    """
    session, options = _session(model, threads, [_CPU]), _run_options()
    return lambda outputs, feeds: list(session.run(list(outputs), dict(feeds), options))


def cuda(model: bytes, threads: int) -> BoundRuns:
    """Make a session on the first GPU.

    Raises:
        RuntimeError: CUDA does not work; says all that is known of why.
    """
    # TF32 has 10 bits where a float has 23: other verdicts than on the CPU, and products this small gain nothing. The
    # variable is for cuDNN's LSTM, which asks no option; it is read when the libraries are loaded.
    os.environ.setdefault("NVIDIA_TF32_OVERRIDE", "0")
    runtime = _runtime()
    if _CUDA not in runtime.get_available_providers():
        raise RuntimeError("this onnxruntime is built without CUDA: install onnxruntime-gpu")
    said = _preload()
    try:
        return bound(model, threads, CudaDevice(runtime.cuda_version.partition(".")[0]))
    except Exception as error:
        raise RuntimeError(f"{error} {said}".strip()) from error


def bound(model: bytes, threads: int, device: Device) -> BoundRuns:
    """Make a session on *device* that is run in its stream, and closes it in the end.

    Raises:
        Exception: ONNX Runtime cannot run the model there.
    """
    provider = _CUDA if device.name == "cuda" else _CPU
    try:
        session = _session(model, threads, list(dict.fromkeys([provider, _CPU])), [_options(device), {}])
    except Exception:
        device.close()
        raise
    options = _run_options()
    # `BoundRuns` waits itself.
    options.add_run_config_entry("disable_synchronize_execution_providers", "1")
    runs = BoundRuns(session, device, options)
    if session.get_providers()[0] != provider:
        raise RuntimeError("ONNX Runtime fell back to the CPU.")
    return runs


def _runtime() -> Any:
    # From 1.29 on it sends figures about the process and its models to its maker, unless this stands before it is loaded.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    onnxruntime.set_default_logger_severity(4)
    return onnxruntime


def _session(model: bytes, threads: int, providers: Sequence[str], settings: Sequence[dict[str, str]] = ({},)) -> Any:
    runtime = _runtime()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # After a fork its locks may be held by threads that are not there.
    if _arena() == os.getpid():
        options.add_session_config_entry("session.use_env_allocators", "1")
    settings = list(settings)[: len(providers)]
    # Its own way of falling back prints to standard output, and tells nobody who asks.
    # What is folded while a session is made is made in memory that no limit counts; ours have next to nothing to fold.
    return runtime.InferenceSession(
        model, options, providers, settings, enable_fallback=0, disabled_optimizers=["ConstantFolding"]
    )


@cache
def _arena() -> int:
    """Make the bounded memory that sessions share, and give the process that has it; 0 where somebody else did before."""
    runtime = _runtime()
    about = runtime.OrtMemoryInfo("Cpu", runtime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, runtime.OrtMemType.DEFAULT)
    try:
        runtime.create_and_register_allocator(about, runtime.OrtArenaCfg({"max_mem": _MOST_MEMORY}))
    except Exception:  # noqa: BLE001 (it names no class of its own)
        return 0
    return os.getpid()


def _run_options() -> Any:
    options = _runtime().RunOptions()
    options.log_severity_level = 4
    return options


def _options(device: Device) -> dict[str, str]:
    if device.name != "cuda":
        return {}
    # The arena grows by what is asked for and not to the next power of two: others may need the GPU's memory.
    return {"user_compute_stream": str(device.stream), "use_tf32": "0", "arena_extend_strategy": "kSameAsRequested"}


@cache
def _preload() -> str:
    """Load what pip installed of CUDA, and give what is said of it, which would go to standard output."""
    with contextlib.redirect_stdout(io.StringIO()) as said:
        if hasattr(_runtime(), "preload_dlls"):  # from 1.21 on
            _runtime().preload_dlls()
    return " ".join(said.getvalue().split())
