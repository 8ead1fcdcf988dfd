import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_tracead import metrics
from otel_tracead.component import Kind, Settings
from otel_tracead.delivery import Consignment, Delivery
from otel_tracead.errors import Backpressure, ConfigError
from otel_tracead.processors.memory_limiter import FACTORY, MemoryLimiter, MemoryLimiterConfig
from otel_tracead.processors.memory_limiter.config import Limits
from otel_tracead.processors.memory_limiter.processor import Watch
from otel_tracead.service.problems import validate
from otel_tracead.testing import RecordingConsumer
from otel_tracead.wire.batch import Envelope, SpanBatch

MIB = 1 << 20
ENVELOPE = Envelope(b"", b"", {})


def config(**keys: object) -> MemoryLimiterConfig:
    return validate(MemoryLimiterConfig, {"check_interval": "1s", **keys}, ("processors", "memory_limiter"))


def request(spans: int = 3) -> Consignment:
    return Consignment(SpanBatch([(ENVELOPE, [b"s"] * spans)]), [(Delivery(), 1)])


@pytest.mark.parametrize(
    ("keys", "soft", "hard"),
    [
        ({"limit_mib": 100}, 80, 100),
        ({"limit_mib": 100, "spike_limit_mib": 30}, 70, 100),
        ({"limit_percentage": 50}, 400, 500),
        ({"limit_percentage": 50, "spike_limit_percentage": 20}, 300, 500),
        ({"limit_mib": 100, "limit_percentage": 50, "spike_limit_percentage": 90}, 80, 100),
    ],
)
def test_the_limits_are_the_collectors(keys: dict[str, object], soft: int, hard: int) -> None:
    assert config(**keys).limits(1000 * MIB) == Limits(soft * MIB, hard * MIB)


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({"check_interval": "0s", "limit_mib": 1}, "'check_interval' must be greater than zero"),
        ({}, "'limit_mib' or 'limit_percentage' must be greater than zero"),
        ({"limit_mib": 10, "spike_limit_mib": 10}, "'spike_limit_mib' must be smaller than 'limit_mib'"),
        (
            {"limit_percentage": 10, "spike_limit_percentage": 10},
            "'spike_limit_percentage' must be smaller than 'limit_percentage'",
        ),
        ({"limit_percentage": 101}, "processors::memory_limiter::limit_percentage: must be less than or equal to 100"),
        (
            {"limit_mib": 1, "min_gc_interval_when_soft_limited": "1s", "min_gc_interval_when_hard_limited": "2s"},
            "'min_gc_interval_when_soft_limited' should be larger",
        ),
    ],
)
def test_what_cannot_work_is_refused(keys: dict[str, object], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        config(**keys)


def test_memory_is_given_back_at_once_over_the_hard_limit_and_seldom_over_the_soft_one() -> None:
    watch = Watch(Limits(80, 100), soft_interval=10, hard_interval=0)
    assert not watch.wants_collection(80, 0)
    assert watch.wants_collection(81, 0)
    assert not watch.wants_collection(81, 9.9)
    assert watch.wants_collection(101, 9.9)
    assert watch.wants_collection(101, 9.9)
    assert not watch.wants_collection(81, 19.8)
    assert watch.wants_collection(81, 20)


@given(st.lists(st.integers(min_value=0, max_value=200)))
def test_it_refuses_exactly_over_the_soft_limit_and_says_each_change(measurements: list[int]) -> None:
    watch = Watch(Limits(80, 100), 10, 0)
    before = False
    for resident in measurements:
        changed = watch.update(resident)
        assert watch.refusing == (resident > 80)
        assert changed == (before != watch.refusing)
        before = watch.refusing


async def test_it_refuses_while_memory_is_short() -> None:
    settings = Settings(id="memory_limiter", kind=Kind.PROCESSOR)
    memory = 10 * MIB
    consumer = RecordingConsumer()
    limiter = MemoryLimiter(config(limit_mib=100), settings, consumer, lambda: memory)
    await limiter.start()
    limiter.admit(3)
    await limiter.consume(request())
    memory = 90 * MIB
    limiter.check(100.0)
    with pytest.raises(Backpressure, match=r"^data refused due to high memory usage$") as caught:
        limiter.admit(3)
    assert caught.value.retry_after == 1
    refused = request()
    with pytest.raises(Backpressure):
        await limiter.consume(refused)
    assert refused.holds[0][0].holds == 1
    memory = 70 * MIB
    limiter.check(101.0)
    await limiter.consume(request())
    await limiter.shutdown()
    await limiter.shutdown()
    value = settings.telemetry.value
    assert len(consumer.spans) == 6
    assert value(metrics.MEMORY_LIMITER_ACCEPTED, "memory_limiter") == 6
    assert value(metrics.MEMORY_LIMITER_REFUSED, "memory_limiter") == 6
    assert value(metrics.PROCESSOR_INCOMING, "memory_limiter") == 6
    assert value(metrics.PROCESSOR_OUTGOING, "memory_limiter") == 6


async def test_the_next_consumers_refusal_is_passed_on() -> None:
    consumer = RecordingConsumer()
    limiter = FACTORY.build(config(limit_mib=10_000), Settings(id="m", kind=Kind.PROCESSOR), consumer)
    assert isinstance(limiter, MemoryLimiter)
    consumer.refusal = Backpressure("full")
    with pytest.raises(Backpressure, match="full"):
        limiter.admit(1)
    await limiter.shutdown()


async def test_real_memory_is_measured_on_a_timer() -> None:
    limiter = MemoryLimiter(
        config(limit_mib=1, check_interval="1ms"), Settings(id="m", kind=Kind.PROCESSOR), RecordingConsumer()
    )
    await limiter.start()
    with pytest.raises(Backpressure):
        limiter.admit(1)
    await limiter.shutdown()


@pytest.mark.parametrize("interval", [1.0, 0.05])
def test_the_soft_limit_is_looked_for_more_often_as_it_comes_near(interval: float) -> None:
    watch = Watch(Limits(100, 120), 10, 0)
    looks = []
    for resident in (70, 80, 100, 101, 90, 60):
        watch.update(resident)
        looks.append(watch.next_look(interval))
    soon = min(interval, 0.1)
    assert looks == [interval, soon, soon, interval, soon, interval]
