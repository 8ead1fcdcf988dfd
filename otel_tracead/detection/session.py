"""ONNX Runtime sessions: on the provider that works, which is found by trying; from one that fails to the CPU."""

import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, Literal

import numpy as np

from otel_tracead.detection import cuda, onnx_sessions
from otel_tracead.detection.bound_runs import AT_A_TIME, BoundRuns, Feeds
from otel_tracead.detection.bound_runs import Run as Begun
from otel_tracead.detection.graph_cut import foreign
from otel_tracead.errors import ArtifactError

Provider = Literal["auto", "cuda", "cpu"]
Run = Callable[[Sequence[str], Feeds], list[Any]]
"""Gives the outputs of these names for inputs by name."""

# How ONNX Runtime's arena, CUDA, cuBLAS and cuDNN say that there is no memory.
_NO_MEMORY: Final = ("failed to allocate memory", "out of memory", "alloc_failed", "cudaerrormemoryallocation")
_DIFFERENCE: Final = 0.01  # of CUDA's numbers from the CPU's: ten times what TF32 would make, a tenth of what matters


class Session:
    """One network in ONNX Runtime. Thread-safe as long as one thread runs it at a time.

    Inputs and outputs have rows, which do not depend on each other. On CUDA a run that finds no memory is made again in
    halves, and none is as large from then on. A run that fails there otherwise is made again on the CPU, and so is every
    one after it: a device that has failed stays so for as long as the process lives.

    Args:
        model: the bytes of `model.onnx`.
        try_out: runs the network once and raises if it is not what is wanted: what the runtime was built with says
            nothing about what works.
        provider: `auto` takes CUDA when it works.
        threads: of ONNX Runtime within one run.

    Attributes:
        execution_provider: `cuda` or `cpu`: where the next run is made.
        trouble: why that is the CPU, where CUDA was to be tried and there is a driver for it; else empty.

    Raises:
        ArtifactError: the bytes are no network that ONNX Runtime can run, it has what no network of ours has, or *try_out*
            failed.
        RuntimeError: `cuda` was asked for and does not work.
    """

    def __init__(
        self, model: bytes, try_out: Callable[[Run], None], *, provider: Provider = "auto", threads: int = 1
    ) -> None:
        if what := foreign(model):
            raise ArtifactError(f"model.onnx: {what}: `otel-tracead train` writes no such network")
        self._model = model
        self._threads = threads
        self._plain: Run | None = None
        self._bound: BoundRuns | None = None
        self._most: int | None = None
        self.execution_provider = "cuda"
        self.trouble = ""
        if provider == "cuda" or (provider == "auto" and cuda.has_driver()):
            try:
                self._bound = onnx_sessions.cuda(model, threads)
                try_out(self._compared)
            except Exception as error:
                self._bound = None
                if provider == "cuda":
                    raise RuntimeError(
                        f"execution_provider: cuda was asked for and does not work: {error}; "
                        "check the NVIDIA driver and CUDA's libraries (docs/gpu.md), or set execution_provider: auto"
                    ) from error
                self.trouble = _said(error)
            else:
                return
        self.execution_provider = "cpu"
        try:
            try_out(self._on_cpu)
        except Exception as error:
            raise ArtifactError(f"model.onnx: ONNX Runtime cannot run it as the manifest says: {error}") from error

    def run(self, outputs: Sequence[str], feeds: Feeds) -> list[Any]:
        """Give the *outputs* for *feeds*."""
        if self._bound is None:
            return self._on_cpu(outputs, feeds)
        return self._finish(outputs, feeds, self._start(outputs, feeds))

    def stream(self, outputs: Sequence[str], feeds: Iterable[Feeds]) -> Iterator[list[Any]]:
        """Give the *outputs* for each of *feeds*, in their order; on CUDA one is computed while another is read."""
        under_way: deque[tuple[Feeds, Begun | Exception | None]] = deque()
        try:
            for feed in feeds:
                if len(under_way) == AT_A_TIME:
                    yield self._finish(outputs, *under_way.popleft())
                under_way.append((feed, self._start(outputs, feed)))
            while under_way:
                yield self._finish(outputs, *under_way.popleft())
        finally:
            for _, begun in under_way:  # nobody wants it any more
                if isinstance(begun, Begun):
                    with contextlib.suppress(RuntimeError):
                        begun.result()

    def _start(self, outputs: Sequence[str], feeds: Feeds) -> Begun | Exception | None:
        """Begin a run, if that can be done; `_finish` deals with every other."""
        if self._bound is None or (self._most is not None and _size(feeds) > self._most and _rows(feeds) > 1):
            return None
        try:
            return self._begun(outputs, feeds)
        except Exception as error:  # noqa: BLE001 (any, also those that ONNX Runtime does not name)
            return error

    def _finish(self, outputs: Sequence[str], feeds: Feeds, begun: Begun | Exception | None) -> list[Any]:
        if isinstance(begun, Begun):
            try:
                return begun.result()
            except RuntimeError as error:
                begun = error
        if self._bound is None:
            return self._on_cpu(outputs, feeds)
        if begun is None:
            return self._in_halves(outputs, feeds)
        if any(sign in str(begun).lower() for sign in _NO_MEMORY) and _rows(feeds) > 1:
            self._most = _size(feeds) // 2
            return self._in_halves(outputs, feeds)
        # What fails there, too, is no failure of the device.
        found = self._on_cpu(outputs, feeds)
        self._bound, self.execution_provider, self.trouble = None, "cpu", _said(begun)
        return found

    def _in_halves(self, outputs: Sequence[str], feeds: Feeds) -> list[Any]:
        half = _rows(feeds) // 2
        parts = [
            self.run(outputs, {name: array[rows] for name, array in feeds.items()})
            for rows in (slice(half), slice(half, None))
        ]
        return [np.concatenate(column) for column in zip(*parts, strict=True)]

    def _compared(self, outputs: Sequence[str], feeds: Feeds) -> list[Any]:
        """Run on CUDA and on the CPU: what is quick and wrong is worth nothing."""
        found = self._begun(outputs, feeds).result()
        for name, here, there in zip(outputs, found, self._on_cpu(outputs, feeds), strict=True):
            if here.dtype.kind == "f" and not np.allclose(here, there, rtol=_DIFFERENCE, atol=_DIFFERENCE):
                raise RuntimeError(f"{name} is {np.abs(here - there).max():.3g} off what the CPU says")
        return found

    def _begun(self, outputs: Sequence[str], feeds: Feeds) -> Begun:
        if self._bound is None:
            raise RuntimeError("there is no CUDA")
        return self._bound.begin(outputs, feeds)

    def _on_cpu(self, outputs: Sequence[str], feeds: Feeds) -> list[Any]:
        if self._plain is None:
            self._plain = onnx_sessions.cpu(self._model, self._threads)
        return self._plain(outputs, feeds)


def _said(error: Exception) -> str:
    """Give what CUDA says of an error, without the signatures of the functions that it came through."""
    return str(error).rpartition("] ")[2].partition(" ; ")[0].strip()


def _rows(feeds: Feeds) -> int:
    return len(next(iter(feeds.values())))


def _size(feeds: Feeds) -> int:
    return sum(array.size for array in feeds.values())
