"""When a connection is probed, asked to end, or cut off."""

from otel_tracead.receivers.otlp.config import KeepaliveEnforcementPolicy, KeepaliveServerParameters
from otel_tracead.receivers.otlp.upkeep import PingPolice, Step, Upkeep


def upkeep(**parameters: str) -> Upkeep:
    made = Upkeep(KeepaliveServerParameters.model_validate(parameters), now=100.0)
    made.greeted = True
    return made


def test_who_never_greets_is_cut_off() -> None:
    shy = Upkeep(KeepaliveServerParameters(), now=100.0)
    assert shy.step(119.9) == (Step.WAIT, 120.0)
    assert shy.step(120.0)[0] is Step.CUT
    shy.greeted = True
    assert shy.step(120.0)[0] is Step.WAIT


def test_a_silent_connection_is_probed_and_then_cut_off() -> None:
    one = upkeep(time="10s", timeout="3s")
    assert one.step(109.0) == (Step.WAIT, 110.0)
    assert one.step(110.0)[0] is Step.PING
    assert one.step(110.0) == (Step.WAIT, 113.0)
    one.heard = 111.0
    assert one.step(113.0) == (Step.WAIT, 121.0)
    assert one.step(121.0)[0] is Step.PING
    assert one.step(124.0)[0] is Step.CUT


def test_an_idle_connection_is_asked_to_end_a_busy_one_is_not() -> None:
    one = upkeep(max_connection_idle="5s")
    one.idle_since = None
    assert one.step(200.0) == (Step.WAIT, 205.0)
    one.idle_since = 201.0
    assert one.step(205.0) == (Step.WAIT, 206.0)
    assert one.step(206.0)[0] is Step.DRAIN
    assert one.step(206.0)[0] is Step.WAIT


def test_an_old_connection_is_asked_to_end_and_cut_off_after_the_grace() -> None:
    one = upkeep(max_connection_age="60s", max_connection_age_grace="7s")
    one.idle_since = None
    assert one.step(159.0) == (Step.WAIT, 160.0)
    assert one.step(160.0)[0] is Step.DRAIN
    assert one.step(160.0) == (Step.WAIT, 167.0)
    assert one.step(167.0)[0] is Step.CUT


def test_ages_are_spread() -> None:
    parameters = KeepaliveServerParameters.model_validate({"max_connection_age": "60s"})
    assert Upkeep(parameters, now=0.0, spread=0.1).step(65.9)[0] is not Step.DRAIN
    early = Upkeep(parameters, now=0.0, spread=-0.1)
    early.greeted = True
    assert early.step(54.0)[0] is Step.DRAIN


def test_pings_are_counted_between_answers() -> None:
    police = PingPolice(KeepaliveEnforcementPolicy.model_validate({"min_time": "10s"}))
    assert not any(police.too_many(now, busy=True) for now in (0, 10, 20, 30, 40))
    assert [police.too_many(now, busy=True) for now in (41, 42, 43)] == [False, False, True]
    police.forgive()
    assert [police.too_many(now, busy=True) for now in (44, 45, 46, 47)] == [False, False, False, True]


def test_an_idle_client_may_ping_only_if_that_is_permitted() -> None:
    strict = PingPolice(KeepaliveEnforcementPolicy.model_validate({"min_time": "10s"}))
    assert [strict.too_many(now, busy=False) for now in (0, 20, 40, 60)] == [False, False, False, True]
    mild = PingPolice(KeepaliveEnforcementPolicy.model_validate({"min_time": "10s", "permit_without_stream": True}))
    assert not any(mild.too_many(now, busy=False) for now in (0, 20, 40, 60))
