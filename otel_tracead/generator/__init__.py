"""A simulated shop whose traces, and whose faults, are known: traffic for tests, the demo and the bundled model."""

from otel_tracead.generator.encoding import requests
from otel_tracead.generator.faults import FAULT_KINDS, Fault
from otel_tracead.generator.scenario import Scenario, parse_fault, standard_faults
from otel_tracead.generator.simulation import Simulation, simulate
from otel_tracead.generator.spans import SimulatedSpan, SimulatedTrace
from otel_tracead.generator.truth import AffectedTrace, CallGraph, Label, Siblings, Truth

__all__ = [
    "FAULT_KINDS",
    "AffectedTrace",
    "CallGraph",
    "Fault",
    "Label",
    "Scenario",
    "Siblings",
    "SimulatedSpan",
    "SimulatedTrace",
    "Simulation",
    "Truth",
    "parse_fault",
    "requests",
    "simulate",
    "standard_faults",
]
