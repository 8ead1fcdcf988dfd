"""ONNX Runtime sessions: on the provider that works, which is found by trying."""

import ctypes
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy.typing as npt

from otel_tracead.errors import ArtifactError

Provider = Literal["auto", "cuda", "cpu"]
Feeds = Mapping[str, npt.NDArray[Any]]
Run = Callable[[Sequence[str], Feeds], list[Any]]
"""Gives the outputs of these names for inputs by name."""


class Session:
    """One network in ONNX Runtime. Thread-safe as long as one thread runs it at a time.

    Args:
        model: the bytes of `model.onnx`.
        try_out: runs the network once and raises if it is not what is wanted: what the runtime was built with says
            nothing about what works.
        provider: `auto` takes CUDA when it works.
        threads: of ONNX Runtime within one run.

    Attributes:
        execution_provider: `cuda` or `cpu`, which it was to be.

    Raises:
        ArtifactError: the bytes are no network that ONNX Runtime can run, or *try_out* failed.
        RuntimeError: `cuda` was asked for and does not work.
    """

    def __init__(
        self, model: bytes, try_out: Callable[[Run], None], *, provider: Provider = "auto", threads: int = 1
    ) -> None:
        # From 1.29 on it sends figures about the process and its models to its maker, unless this stands before it is loaded.
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
        import onnxruntime

        onnxruntime.set_default_logger_severity(4)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._run_options = onnxruntime.RunOptions()
        self._run_options.log_severity_level = 4
        # Without this every output is computed at every run, the costly details too.
        self._run_options.only_execute_path_to_fetches = True
        self.execution_provider = "cuda"
        if provider == "cuda" or (provider == "auto" and _cuda_library()):
            try:
                self._session = _cuda_session(onnxruntime, model, options)
                try_out(self.run)
            except Exception as error:
                if provider == "cuda":
                    raise RuntimeError(
                        f"execution_provider: cuda was asked for and does not work: {error}; "
                        "check the NVIDIA driver, CUDA and cuDNN, or set execution_provider: auto"
                    ) from error
            else:
                return
        self.execution_provider = "cpu"
        try:
            self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
            try_out(self.run)
        except Exception as error:
            raise ArtifactError(f"model.onnx: ONNX Runtime cannot run it as the manifest says: {error}") from error

    def run(self, outputs: Sequence[str], feeds: Feeds) -> list[Any]:
        """Give the *outputs* for *feeds*; only what they need is computed."""
        return list(self._session.run(list(outputs), dict(feeds), self._run_options))


def _cuda_session(runtime: Any, model: bytes, options: Any) -> Any:
    if hasattr(runtime, "preload_dlls"):
        runtime.preload_dlls()
    session = runtime.InferenceSession(model, options, providers=["CUDAExecutionProvider", "CPUExecutionProvider"])
    if session.get_providers()[0] != "CUDAExecutionProvider":
        raise RuntimeError("ONNX Runtime fell back to the CPU")
    return session


def _cuda_library() -> bool:
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True
