import pytest
from pydantic import ValidationError

from otel_tracead.component import Kind, Settings
from otel_tracead.receivers.otlp import FACTORY, OtlpReceiverConfig
from otel_tracead.testing import RecordingConsumer


def test_a_protocol_that_is_present_but_empty_is_on_with_its_defaults() -> None:
    both = OtlpReceiverConfig.model_validate({"protocols": {"grpc": None, "http": None}}).protocols
    assert str(both.grpc.endpoint) == "localhost:4317"
    assert both.grpc.max_recv_msg_size_mib == 4
    assert str(both.http.endpoint) == "localhost:4318"
    assert both.http.max_request_body_size == 20971520
    assert OtlpReceiverConfig.model_validate({"protocols": {"http": {}}}).protocols.grpc is None


@pytest.mark.parametrize("written", [{}, {"protocols": None}, {"protocols": {}}])
def test_without_a_protocol_there_is_nothing_to_do(written: dict) -> None:
    with pytest.raises(ValidationError, match="at least one protocol"):
        OtlpReceiverConfig.model_validate(written)


@pytest.mark.parametrize(
    "grpc",
    [
        {"endpoint": "x"},
        {"max_recv_msg_size_mib": 0},
        {"compression": "gzip"},
        {"tls": {"cert_file": "a"}},
        {"tls": {}},
    ],
)
def test_what_is_wrong_is_refused(grpc: dict) -> None:
    with pytest.raises(ValidationError):
        OtlpReceiverConfig.model_validate({"protocols": {"grpc": grpc}})


async def test_every_key_of_keepalive_is_taken_by_grpc() -> None:
    keepalive = {
        "server_parameters": {
            "max_connection_idle": "10s",
            "max_connection_age": "1m",
            "max_connection_age_grace": "5s",
            "time": "30s",
            "timeout": "5s",
        },
        "enforcement_policy": {"min_time": "10s", "permit_without_stream": True},
    }
    grpc = {"endpoint": "127.0.0.1:0", "max_concurrent_streams": 7, "keepalive": keepalive}
    config = OtlpReceiverConfig.model_validate({"protocols": {"grpc": grpc}})
    receiver = FACTORY.build(config, Settings(id="otlp", kind=Kind.RECEIVER), RecordingConsumer())
    await receiver.start()
    await receiver.shutdown()
