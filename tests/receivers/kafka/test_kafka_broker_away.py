"""A broker that goes away and comes back: nobody ends, nothing is lost."""

import asyncio
from signal import SIGKILL

import pytest

from otel_tracead import metrics
from tests.contract.receiver_contract import until
from tests.receivers import samples
from tests.receivers.kafka.kafka_rig import HoldingConsumer, Rig, Topic
from tools.peers import Unavailable
from tools.peers.kafka import Broker


@pytest.mark.peers  # two starts of a broker take their time
async def test_a_broker_that_goes_away_and_comes_back(tmp_path):
    try:
        broker = Broker(tmp_path)
    except Unavailable as missing:
        pytest.skip(str(missing))
    with broker:
        topic = Topic(broker.address)
        topic.put(*(samples.otlp(1, f"a{number}") for number in range(10)))
        async with Rig(topic, HoldingConsumer()) as rig:
            await rig.until_spans(10)
            await asyncio.to_thread(broker.stop)
            await until(lambda: rig.value(metrics.KAFKA_ERRORS) > 0)
            rig.consumer.settle()  # handed on while nobody can be told
            with Broker(tmp_path, ports=broker.ports) as again:
                assert again.address == topic.address
                topic.put(samples.otlp(1, "b"))
                async with asyncio.timeout(30):
                    while not any(b"\x01b" in span for span in rig.consumer.spans):  # noqa: ASYNC110
                        await asyncio.sleep(0.05)
                rig.consumer.settle()
                await rig.until_committed(11)
                assert rig.failed == []
                assert len(set(rig.consumer.spans)) == 11
                assert any("error" in entry for entry in rig.warnings())
                topic.put(samples.otlp(1, "c"))
                await until(lambda: any(b"\x01c" in span for span in rig.consumer.spans))
                again.signal(SIGKILL)
                again.wait()
                async with asyncio.timeout(10):  # nobody hears the last commit, and nobody waits for it
                    await rig.receiver.shutdown()
