"""What librdkafka's errors mean for the spans in a record: one table.

Codes that are not in it may pass: nothing is given up because of an error that nobody thought of, but for those of the
broker's that the protocol calls final.
Source: librdkafka, rdkafka.h (rd_kafka_resp_err_t); the Kafka protocol's table of error codes.
"""

from collections.abc import Mapping
from typing import Final

from confluent_kafka import KafkaError, KafkaException

from otel_tracead.errors import InvalidRequest, PermanentError, PipelineError, RetryableError, TooLarge

MEANINGS: Final[Mapping[str, type[PipelineError]]] = {
    # The record is at fault.
    "MSG_SIZE_TOO_LARGE": TooLarge,
    "RECORD_LIST_TOO_LARGE": TooLarge,
    "INVALID_MSG_SIZE": InvalidRequest,
    "INVALID_RECORD": InvalidRequest,
    "INVALID_TIMESTAMP": InvalidRequest,
    "POLICY_VIOLATION": InvalidRequest,
    # The broker will not take anything of the kind from us.
    "TOPIC_AUTHORIZATION_FAILED": PermanentError,
    "CLUSTER_AUTHORIZATION_FAILED": PermanentError,
    "TOPIC_EXCEPTION": PermanentError,
    "INVALID_REQUIRED_ACKS": PermanentError,
    "INVALID_REQUEST": PermanentError,
    "UNSUPPORTED_VERSION": PermanentError,
    "UNSUPPORTED_FOR_MESSAGE_FORMAT": PermanentError,
    "UNSUPPORTED_COMPRESSION_TYPE": PermanentError,
    "SECURITY_DISABLED": PermanentError,
    "INVALID_CONFIG": PermanentError,
    "_UNSUPPORTED_FEATURE": PermanentError,
    "_INVALID_ARG": PermanentError,
    "_BAD_MSG": PermanentError,
    "_BAD_COMPRESSION": PermanentError,
    # Later.
    "INVALID_MSG": RetryableError,  # damaged on the way
    "UNKNOWN_TOPIC_OR_PART": RetryableError,  # it may be under way
    "LEADER_NOT_AVAILABLE": RetryableError,
    "NOT_LEADER_FOR_PARTITION": RetryableError,
    "REQUEST_TIMED_OUT": RetryableError,
    "BROKER_NOT_AVAILABLE": RetryableError,
    "REPLICA_NOT_AVAILABLE": RetryableError,
    "NETWORK_EXCEPTION": RetryableError,
    "NOT_ENOUGH_REPLICAS": RetryableError,
    "NOT_ENOUGH_REPLICAS_AFTER_APPEND": RetryableError,
    "NOT_CONTROLLER": RetryableError,
    "KAFKA_STORAGE_ERROR": RetryableError,
    "THROTTLING_QUOTA_EXCEEDED": RetryableError,
    "OUT_OF_ORDER_SEQUENCE_NUMBER": RetryableError,
    "UNKNOWN_PRODUCER_ID": RetryableError,
    "SASL_AUTHENTICATION_FAILED": RetryableError,  # a password may just be changing, and brokers do not say more
    "_AUTHENTICATION": RetryableError,
    "_MSG_TIMED_OUT": RetryableError,
    "_TIMED_OUT": RetryableError,
    "_TIMED_OUT_QUEUE": RetryableError,
    "_TRANSPORT": RetryableError,
    "_ALL_BROKERS_DOWN": RetryableError,
    "_RESOLVE": RetryableError,
    "_SSL": RetryableError,
    "_QUEUE_FULL": RetryableError,
    "_PURGE_QUEUE": RetryableError,
    "_PURGE_INFLIGHT": RetryableError,
    "_UNKNOWN_TOPIC": RetryableError,
    "_UNKNOWN_PARTITION": RetryableError,
    "_FATAL": RetryableError,  # the producer is at its end; the sender makes another
    "_FENCED": RetryableError,
}

_BY_CODE: Final = {getattr(KafkaError, name): kind for name, kind in MEANINGS.items()}


def meaning(error: KafkaError | KafkaException) -> PipelineError:
    """Give what *error* means for the spans of the record that it came for, in its own words."""
    wrong: KafkaError = error.args[0] if isinstance(error, KafkaException) else error
    return _BY_CODE.get(wrong.code(), RetryableError)(f"{wrong.name()}: {wrong.str()}")
