"""A device that is the host: the CPU provider runs through the same code as CUDA, and fails where it is told to."""

import numpy as np

from otel_tracead.detection import onnx_sessions


class HostDevice:
    """Memory of the host; implements `otel_tracead.detection.cuda.Device`.

    Attributes:
        given: sizes of the memory that was asked for.
        waited: marks that were waited for, in order.
        failing: what the next wait says.
    """

    name = "cpu"
    stream = 0

    def __init__(self):
        self.given, self.waited, self.marked, self.closed = [], [], [], False
        self.failing = None

    def empty(self, size):
        self.given.append(size)
        return np.zeros(size, np.uint8)

    def mark(self, number):
        self.marked.append(number)

    def wait(self, number):
        assert number in self.marked
        self.waited.append(number)
        if self.failing is not None:
            raise RuntimeError(self.failing)

    def works(self):
        return self.failing is None

    def close(self):
        self.closed = True


class FailingSession:
    """An ONNX Runtime session whose runs fail where *fails* says so, by number (from 0) and by rows."""

    def __init__(self, session, fails):
        self._session, self._fails = session, fails
        self.rows = []

    def io_binding(self):
        return Rows(self._session.io_binding())

    def run_with_iobinding(self, binding, options):
        self.rows.append(binding.rows)
        text = self._fails(len(self.rows) - 1, binding.rows)
        if text:
            raise RuntimeError(text)
        self._session.run_with_iobinding(binding.wrapped, options)


class Rows:
    """A binding that knows how many rows it was given."""

    def __init__(self, wrapped):
        self.wrapped, self.rows = wrapped, 0

    def bind_input(self, name, device, number, kind, shape, address):
        self.rows = shape[0]
        self.wrapped.bind_input(name, device, number, kind, shape, address)

    def __getattr__(self, name):
        return getattr(self.wrapped, name)


def cuda_on_host(fails=lambda number, rows: None):
    """Give a stand-in for `onnx_sessions.cuda`, and the list that its devices and sessions go to."""
    made = []

    def cuda(model, threads):
        device = HostDevice()
        runs = onnx_sessions.bound(model, threads, device)
        runs._session = FailingSession(runs._session, fails)
        made.append((device, runs._session))
        return runs

    return cuda, made
