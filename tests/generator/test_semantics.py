import pytest

from otel_tracead.generator import SimulatedTrace, simulate, standard_faults
from otel_tracead.generator.semantics import (
    CANCELLED,
    EXHAUSTED,
    INTERNAL,
    OK,
    REFUSED,
    UNAVAILABLE,
    UPSTREAM,
    Kind,
    Outcome,
    is_error,
    upwards,
)
from otel_tracead.generator.topology import Protocol
from tests.generator.conftest import scenario

REQUIRED = {
    "http.request.method": {"http.response.status_code", "server.address"},
    "rpc.system": {"rpc.service", "rpc.method", "rpc.grpc.status_code", "server.address"},
    "db.system.name": {"db.query.text", "db.operation.name", "server.address"},
    "messaging.system": {"messaging.operation.type", "messaging.destination.name"},
}


@pytest.fixture(scope="module")
def faulty() -> list[SimulatedTrace]:
    return list(simulate(scenario(duration_s=60.0, faults=standard_faults(60.0, 2))).traces)


def test_spans_carry_the_attributes_of_their_convention(faulty: list[SimulatedTrace]) -> None:
    seen = set()
    for span in (span for trace in faulty for span in trace.spans):
        keys = [key for key, _ in span.attributes]
        assert len(keys) == len(set(keys))
        systems = REQUIRED.keys() & set(keys)
        assert len(systems) == (span.kind is not Kind.INTERNAL)
        for system in systems:
            seen.add(system)
            assert REQUIRED[system] <= set(keys)
        if span.error and systems:
            assert "error.type" in keys
    assert seen == REQUIRED.keys()


def test_what_tests_fidelity_is_there(faulty: list[SimulatedTrace]) -> None:
    spans = [span for trace in faulty for span in trace.spans]
    assert {type(value) for span in spans for _, value in span.attributes} == {str, bool, int, float, tuple}
    assert any(span.trace_state for span in spans)
    assert any(span.links for span in spans)
    assert any(span.events for span in spans)
    assert all(span.flags & 0x100 for span in spans)
    remote = {bool(span.flags & 0x200) for span in spans if span.kind is Kind.SERVER and span.parent_span_id}
    assert remote == {True}


def test_names_are_few(faulty: list[SimulatedTrace]) -> None:
    assert len({span.name for trace in faulty for span in trace.spans}) < 60


@pytest.mark.parametrize(
    ("protocol", "outcome", "server"),
    [
        (Protocol.HTTP, OK, False),
        (Protocol.HTTP, CANCELLED, False),
        (Protocol.HTTP, REFUSED, False),
        (Protocol.HTTP, EXHAUSTED, True),
        (Protocol.GRPC, EXHAUSTED, False),
        (Protocol.GRPC, REFUSED, False),
        (Protocol.GRPC, UNAVAILABLE, True),
        (Protocol.GRPC, INTERNAL, True),
    ],
)
def test_only_the_guilty_side_is_an_error(protocol: Protocol, outcome: Outcome, server: bool) -> None:
    assert is_error(protocol, Kind.SERVER, outcome) is server
    assert is_error(protocol, Kind.CLIENT, outcome) is outcome.failed


def test_failures_change_on_their_way_up_as_servers_translate_them() -> None:
    assert upwards(INTERNAL) is UPSTREAM
    assert upwards(EXHAUSTED) is UNAVAILABLE
    assert upwards(CANCELLED) is CANCELLED
    assert upwards(REFUSED) is REFUSED
