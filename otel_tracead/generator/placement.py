"""Where the services run: instances with their workers, on hosts whose clocks differ."""

from dataclasses import dataclass
from typing import Final

from otel_tracead.generator.engine import Engine, Pool
from otel_tracead.generator.spans import Host, Origin
from otel_tracead.generator.topology import Topology

_HOSTS: Final = 4
_SKEWS: Final = (0, 1, 0, -1)  # of the hosts, in units of the given clock skew


@dataclass(frozen=True, slots=True, eq=False)
class Instance:
    """One running instance of a service: where it stands, and its workers."""

    origin: Origin
    pool: Pool


def place(topology: Topology, engine: Engine, scale: float, clock_skew_ms: float) -> dict[str, list[Instance]]:
    """Return the instances of every service by its name, each with `scale` times the workers that are described.

    It depends on nothing random: two simulations of a shop speak of the same pods on the same hosts.
    """
    skew_ns = clock_skew_ms * 1e6
    hosts = [Host(f"node-{number}", round(_SKEWS[number] * skew_ns)) for number in range(_HOSTS)]
    return {
        service.name: [
            Instance(
                Origin(service, index, hosts[(first_host + index) % _HOSTS]),
                Pool(engine, max(1, round(service.workers * scale))),
            )
            for index in range(service.instances)
        ]
        for first_host, service in enumerate(topology.services())
    }
