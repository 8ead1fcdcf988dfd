"""From a scenario to its traces: one seed, one result, however often it is read."""

from collections.abc import Iterator

from otel_tracead.generator.scenario import Scenario
from otel_tracead.generator.shop import SHOP
from otel_tracead.generator.spans import SimulatedSpan, SimulatedTrace
from otel_tracead.generator.topology import Topology
from otel_tracead.generator.truth import Truth, call_graphs
from otel_tracead.generator.world import World


class Simulation:
    """A scenario in its shop. Made by `simulate`.

    `traces` and `spans` each begin a new pass from the seed, with the same result; `truth` speaks of the pass that was
    begun last, and its traces are complete once that pass has been read to its end.
    """

    def __init__(self, scenario: Scenario, topology: Topology) -> None:
        self.scenario = scenario
        self._topology = topology
        self.truth = Truth(scenario.start_unix_nano, scenario.faults, call_graphs(topology))

    def _pass(self) -> World:
        self.truth.traces = []
        return World(self.scenario, self._topology, self.truth.traces)

    @property
    def traces(self) -> Iterator[SimulatedTrace]:
        """The traces, each when its last span has ended; memory holds only those under way."""
        world = self._pass()
        finished = world.finished
        while world.advance():
            if finished:
                yield from finished
                finished.clear()
                world.ended.clear()

    @property
    def spans(self) -> Iterator[SimulatedSpan]:
        """The spans of all traces in the order in which they really ended (`ended_s`)."""
        world = self._pass()
        ended = world.ended
        while world.advance():
            if ended:
                yield from ended
                ended.clear()
                world.finished.clear()


def simulate(scenario: Scenario, topology: Topology = SHOP) -> Simulation:
    """Return the simulation of a scenario; nothing runs before its traces or spans are read.

    Raises:
        ValueError: a fault names a service that the shop does not have.
    """
    known = {service.name for service in topology.services()}
    for fault in scenario.faults:
        for name in (fault.service, fault.caller):
            if name and name not in known:
                raise ValueError(f"fault {fault.kind}: no service {name!r}; the shop has {', '.join(sorted(known))}")
    return Simulation(scenario, topology)
