"""Real neighbours for tests and benchmarks: installed once into a cache, started on free ports, ended by SIGTERM.

`python -m tools.peers install [zipkin kafka otelcol jaeger rotel h2spec]` fetches them by the package managers of their languages
(Maven, Go, pip). A machine that lacks one of those gets `Unavailable` with the reason, and the tests skip with it.
"""

from tools.peers.guard import guarded
from tools.peers.process import Process, Unavailable, free_port

__all__ = ["Process", "Unavailable", "free_port", "guarded"]
