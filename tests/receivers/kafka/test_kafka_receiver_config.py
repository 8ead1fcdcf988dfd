import re
from pathlib import Path

import pytest
from confluent_kafka import Consumer
from pydantic import ValidationError

from otel_tracead.receivers.kafka import KafkaReceiverConfig
from otel_tracead.service.config import decode
from otel_tracead.service.registry import Registry


def config(**written) -> KafkaReceiverConfig:
    return KafkaReceiverConfig.model_validate(written)


# The Collector's own documentation of the receiver, 0.155, every key of it.
COLLECTORS = {
    "brokers": "one:9092, two:9092",
    "protocol_version": "2.1.0",
    "resolve_canonical_bootstrap_servers_only": True,
    "logs": {"topics": ["otlp_logs"]},
    "metrics": {"topics": ["otlp_metrics"]},
    "traces": {"topics": ["^spans-.*", "others"], "encoding": "zipkin_proto", "exclude_topics": ["^spans-test$"]},
    "group_id": "group",
    "client_id": "client",
    "rack_id": "rack",
    "use_leader_epoch": True,
    "conn_idle_timeout": "9m",
    "initial_offset": "latest",
    "session_timeout": "10s",
    "heartbeat_interval": "3s",
    "group_rebalance_strategies": ["cooperative-sticky"],
    "group_instance_id": "static",
    "min_fetch_size": 1,
    "max_fetch_size": 1048576,
    "max_fetch_wait": "250ms",
    "max_partition_fetch_size": 1048576,
    "tls": {"insecure_skip_verify": True},
    "auth": {"sasl": {"username": "user", "password": "secret", "mechanism": "SCRAM-SHA-512"}},
    "metadata": {"full": True, "refresh_interval": "10m", "retry": {"max": 3, "backoff": "250ms"}},
    "autocommit": {"enable": True, "interval": "1s"},
    "message_marking": {"after": True, "on_error": False, "on_permanent_error": False},
    "header_extraction": {"extract_headers": False, "headers": []},
    "error_backoff": {
        "enabled": False,
        "initial_interval": "1s",
        "max_interval": "30s",
        "multiplier": 1.5,
        "randomization_factor": 0.5,
        "max_elapsed_time": "5m",
    },
    "telemetry": {"metrics": {"kafka_receiver_records_delay": {"enabled": False}}},
}


def test_the_collectors_configuration_is_taken_and_librdkafka_takes_what_is_made_of_it():
    properties = config(**COLLECTORS).consumer_properties()
    assert properties["bootstrap.servers"] == "one:9092,two:9092"
    assert (properties["security.protocol"], properties["sasl.mechanism"]) == ("SASL_SSL", "SCRAM-SHA-512")
    assert properties["enable.ssl.certificate.verification"] is False
    assert properties["topic.blacklist"] == "^spans-test$"
    Consumer({**properties, "log_level": 0}).close()


def test_the_defaults_are_the_collectors():
    written = config()
    assert (written.brokers, written.client_id, written.group_id) == (
        ("localhost:9092",),
        "otel-collector",
        "otel-collector",
    )
    assert (written.topics, written.record_encoding, written.initial_offset) == (["otlp_spans"], "otlp_proto", "latest")
    assert (written.session_timeout, written.heartbeat_interval, written.autocommit.interval) == (10, 3, 1)
    assert (written.cooperative, written.max_fetch_size, written.max_fetch_wait) == (True, 1048576, 0.25)
    assert written.consumer_properties()["security.protocol"] == "PLAINTEXT"


def test_keys_without_effect_are_named():
    document = {
        "receivers": {"kafka": COLLECTORS | {"message_marking": {"after": False}}},
        "exporters": {"debug": None},
        "service": {"pipelines": {"traces": {"receivers": ["kafka"], "exporters": ["debug"]}}},
    }
    told = "\n".join(decode(document, Registry(), Path.cwd()).warnings)
    for key in (
        "protocol_version",
        "message_marking::after",
        "logs",
        "metadata::full",
        "use_leader_epoch",
        "telemetry",
    ):
        assert f"receivers::kafka::{key}" in told, key


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ({"brokers": []}, "brokers"),
        ({"brokers": ["a:1", ""]}, "a broker is host:port"),
        ({"topics": ["a"]}, "topics"),
        ({"traces": {"topics": []}}, "topics"),
        ({"traces": {"encoding": "jaeger_json"}}, 'encoding "jaeger_json" is not in otel-tracead'),
        ({"traces": {"encoding": "zipkin_thrift"}}, "is not in otel-tracead"),
        ({"traces": {"exclude_topics": ["a"]}}, "none of the configured topics use regex"),
        ({"traces": {"topics": ["^a"], "exclude_topics": ["["]}}, "invalid regex"),
        ({"traces": {"topics": ["^a"], "exclude_topics": [""]}}, "empty string"),
        ({"traces": {"topics": ["^a"], "exclude_topics": ["a{1,2}"]}}, "comma"),
        ({"group_rebalance_strategies": ["sticky"]}, "cooperative-sticky"),
        ({"group_rebalance_strategies": ["range", "cooperative-sticky"]}, "stands alone"),
        ({"group_rebalance_strategies": ["my_extension"]}, "no strategy"),
        ({"group_rebalance_strategy": "range", "group_rebalance_strategies": ["range"]}, "mutually exclusive"),
        ({"initial_offset": "middle"}, "initial_offset"),
        ({"min_fetch_size": 10, "max_fetch_size": 5}, "cannot be less than min_fetch_size"),
        ({"heartbeat_interval": "10s"}, "less than session_timeout"),
        ({"header_extraction": {"extract_headers": True}}, "byte for byte"),
        ({"dead_letter": {"topic": "not a name"}}, "no topic name"),
        ({"auth": {"kerberos": {}, "sasl": {"username": "u", "mechanism": "PLAIN"}}}, "password"),
        (
            {"auth": {"sasl": {"username": "u", "password": "p", "mechanism": "AWS_MSK_IAM_OAUTHBEARER"}}},
            "PLAIN, SCRAM",
        ),
        ({"protocol_version": "x"}, "invalid protocol version"),
    ],
)
def test_what_cannot_be_honoured_is_refused(written, said):
    with pytest.raises(ValidationError, match=re.escape(said)):
        config(**written)


def test_what_the_collector_has_left_behind_is_taken_and_named():
    old = config(
        topic="old",
        encoding="otlp_json",
        group_rebalance_strategy="range",
        default_fetch_size=5000,
        auth={"plain_text": {"username": "u", "password": "p"}},
    )
    assert (old.topics, old.record_encoding, old.cooperative) == (["old"], "otlp_json", False)
    assert [line.split()[0] for line in old.deprecated()] == [
        "auth::plain_text",
        "topic",
        "encoding",
        "group_rebalance_strategy",
        "default_fetch_size",
    ]
    properties = old.consumer_properties()
    assert properties["partition.assignment.strategy"] == "range"
    assert properties["max.partition.fetch.bytes"] == 5000
    assert config(topic="old", traces={"topics": ["new"]}).topics == ["new"]
    assert config(traces={"topic": "older"}).topics == ["older"]
    excluding = config(traces={"topics": ["^a"], "exclude_topic": "^ab$"})
    assert excluding.consumer_properties()["topic.blacklist"] == "^ab$"


@pytest.mark.parametrize(("tls", "protocol"), [(None, "PLAINTEXT"), ({}, "SSL"), ({"insecure": True}, "PLAINTEXT")])
def test_when_it_is_encrypted(tls, protocol):
    assert config(tls=tls).consumer_properties()["security.protocol"] == protocol


def test_a_password_is_not_shown():
    written = config(auth={"sasl": {"username": "u", "password": "secret", "mechanism": "PLAIN"}})
    assert "secret" not in repr(written)
    assert "secret" not in written.model_dump_json()


@pytest.mark.parametrize("size", [0, 1, 500, 200_000_000])
def test_librdkafka_takes_every_fetch_size(size):
    Consumer({**config(max_fetch_size=size, min_fetch_size=0).consumer_properties(), "log_level": 0}).close()
