"""What of the CUDA runtime ONNX Runtime does not give us: memory that host and GPU share, a stream, and waiting for it.

Memory is pinned and mapped: kernels read inputs from it and write outputs into it over the bus, so nothing is copied and
nothing waits before or after a run. Waiting gives up the processor (a blocking event); ONNX Runtime's own waiting spins,
which would cost as much CPU time as the GPU takes.
"""

import ctypes
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]

# Of driver_types.h.
_STREAM_NON_BLOCKING: Final = 1
_EVENT_BLOCKING_SYNC: Final = 1
_EVENT_DISABLE_TIMING: Final = 2
_HOST_ALLOC_PORTABLE: Final = 1
_HOST_ALLOC_MAPPED: Final = 2


def has_driver() -> bool:
    """Say whether NVIDIA's driver is there, without which nothing of CUDA need be tried."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


def keep_for_ever(thing: object) -> None:
    """Keep *thing* from being destroyed, also when the process ends."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


class Device(Protocol):
    """Where a network runs.

    Attributes:
        name: of the device in ONNX Runtime.
        stream: address of the stream that everything runs in; 0 where there is none.
    """

    name: str
    stream: int

    def empty(self, size: int) -> Bytes:
        """Give *size* bytes that the host and the device see at one address, all 0; they live as long as this device.

        Raises:
            RuntimeError: there is no memory.
        """

    def mark(self, number: int) -> None:
        """Put mark *number* behind what was begun so far, in place of its former one."""

    def wait(self, number: int) -> None:
        """Wait until everything before mark *number* is done.

        Raises:
            RuntimeError: something of it failed.
        """

    def works(self) -> bool:
        """Wait for everything that was begun, and say whether the device still works."""

    def close(self) -> None:
        """Give everything back; not before whatever uses it is gone."""


class CudaDevice:
    """The first GPU that this process sees; implements `Device`.

    Args:
        version: major version of the CUDA runtime, the one that ONNX Runtime was built with.

    Raises:
        OSError: the runtime cannot be loaded.
        RuntimeError: it does not work.
    """

    name = "cuda"

    def __init__(self, version: str) -> None:
        self._runtime = ctypes.CDLL(f"libcudart.so.{version}")
        self._runtime.cudaGetErrorString.restype = ctypes.c_char_p
        stream = ctypes.c_void_p()
        self._call("cudaStreamCreateWithFlags", ctypes.byref(stream), _STREAM_NON_BLOCKING)
        self.stream = stream.value or 0
        self._marks: dict[int, ctypes.c_void_p] = {}
        self._memory: list[ctypes.c_void_p] = []

    def empty(self, size: int) -> Bytes:
        """See `Device.empty`."""
        address = ctypes.c_void_p()
        flags = _HOST_ALLOC_PORTABLE | _HOST_ALLOC_MAPPED
        self._call("cudaHostAlloc", ctypes.byref(address), ctypes.c_size_t(size), flags)
        self._memory.append(address)
        memory = np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address.value or 0))
        memory[:] = 0
        return memory

    def mark(self, number: int) -> None:
        """See `Device.mark`."""
        event = self._marks.get(number)
        if event is None:
            event = self._marks[number] = ctypes.c_void_p()
            flags = _EVENT_BLOCKING_SYNC | _EVENT_DISABLE_TIMING
            self._call("cudaEventCreateWithFlags", ctypes.byref(event), flags)
        self._call("cudaEventRecord", event, ctypes.c_void_p(self.stream))

    def wait(self, number: int) -> None:
        """See `Device.wait`."""
        self._call("cudaEventSynchronize", self._marks[number])

    def works(self) -> bool:
        """See `Device.works`."""
        return not self._runtime.cudaStreamSynchronize(ctypes.c_void_p(self.stream))

    def close(self) -> None:
        """See `Device.close`; a device that does not work refuses, which is all one."""
        for address in self._memory:
            self._runtime.cudaFreeHost(address)
        for event in self._marks.values():
            self._runtime.cudaEventDestroy(event)
        self._runtime.cudaStreamDestroy(ctypes.c_void_p(self.stream))
        self._memory, self._marks = [], {}

    def _call(self, name: str, *arguments: Any) -> None:
        code = getattr(self._runtime, name)(*arguments)
        if code:
            raise RuntimeError(f"{name}: {self._runtime.cudaGetErrorString(code).decode(errors='replace')} ({code})")
