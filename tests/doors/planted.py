"""A configuration with a secret in every place where a user can put one; each begins with `planted` and is its own."""

import itertools
from pathlib import Path
from typing import Any

from tests.exporters.certificates import make

_numbers = itertools.count()


def secret(place: str) -> str:
    """Give a secret that says where it comes from."""
    return f"planted-{place}-{next(_numbers)}"


def configuration(folder: Path, ports: dict[str, int]) -> dict[str, Any]:
    """Give a configuration that starts, and tries to send to what listens on *ports*: `echo` and `grpc_echo`.

    Kafka's brokers are nowhere: the ports 1 and 2 of this machine.
    """
    server = make(folder, "server")
    folder.joinpath("tokens").write_text(f"{secret('token-file')}\n")
    folder.joinpath("htpasswd").write_text(f"them:{secret('htpasswd-file')}\n")
    folder.joinpath("name").write_text("name-of-a-file")
    folder.joinpath("password").write_text(secret("password-file"))
    pem = {"cert_pem": Path(server["cert_file"]).read_text(), "key_pem": Path(server["key_file"]).read_text()}
    backend = folder / "echo.pem"
    trust = {"ca_pem": backend.read_text() if backend.exists() else pem["cert_pem"]}
    private_url = f"http://me:{secret('user-info')}@127.0.0.1:{ports['echo']}"
    sasl = {"username": "me", "password": secret("sasl"), "mechanism": "PLAIN"}
    listens = {"endpoint": "127.0.0.1:0", "tls": {**pem, **trust}}
    answers = {"x-answer": secret("response-header")}  # said to everybody on the wire, and in no log
    kafka_tls = {**pem, **trust}
    quick = {"retry_on_failure": {"initial_interval": "50ms", "max_interval": "100ms"}, "timeout": "1s"}
    direct = {**quick, "sending_queue": {"enabled": False}, "retry_on_failure": {"enabled": False}}
    return {
        "receivers": {
            "otlp": {
                "protocols": {
                    "grpc": {**listens, "auth": {"authenticator": "bearertokenauth/file"}},
                    "http": {**listens, "auth": {"authenticator": "basicauth/file"}, "response_headers": answers},
                }
            },
            "otlp/plain": {"protocols": {"http": {"endpoint": "127.0.0.1:0"}}},
            "zipkin": {**listens, "auth": {"authenticator": "basicauth/inline"}, "response_headers": answers},
            "kafka": {"brokers": ["127.0.0.1:1"], "auth": {"sasl": sasl}, "tls": kafka_tls},
            "kafka/older": {
                "brokers": ["127.0.0.1:2"],
                "auth": {"plain_text": {"username": "me", "password": secret("plain-text")}, "tls": kafka_tls},
            },
        },
        "processors": {
            "tracead": {"model": "model_artifacts/shop", "wait_duration": "100ms", "record": str(folder / "record")},
        },
        "exporters": {
            "otlp_http": {
                **quick,
                "endpoint": private_url,
                "headers": {"x-api-key": secret("header"), "authorization": f"Bearer {secret('bearer-header')}"},
                "tls": {**pem, **trust},
            },
            "otlp_http/query": {
                **quick,
                "traces_endpoint": f"http://127.0.0.1:{ports['echo']}/v1/traces?api-key={secret('query')}",
                "metrics_endpoint": f"http://me:{secret('metrics')}@127.0.0.1:1",
                "auth": {"authenticator": "bearertokenauth/several"},
            },
            "otlp_http/proxy": {
                **direct,
                "endpoint": "http://backend.invalid:4318",
                "proxy_url": f"http://me:{secret('proxy')}@127.0.0.1:{ports['echo']}",
                "auth": {"authenticator": "basicauth/client"},
            },
            "otlp_grpc": {
                **quick,
                "endpoint": f"127.0.0.1:{ports['grpc_echo']}",
                "headers": {"x-api-key": secret("metadata")},
                "tls": {**pem, **trust},
                "auth": {"authenticator": "basicauth/client_files"},
            },
            "zipkin": {
                **quick,
                "endpoint": f"{private_url}/api/v2/spans",
                "headers": {"x-api-key": "${env:PLANTED}"},
                "proxy_url": f"http://me:{secret('proxy')}@127.0.0.1:{ports['echo']}",
                "tls": {**pem, **trust},
                "auth": {"authenticator": "bearertokenauth"},
            },
            "kafka": {
                **quick,
                "brokers": ["127.0.0.1:1"],
                "auth": {"sasl": sasl},
                "tls": kafka_tls,
                "record_headers": {"x-api-key": secret("record-header")},
            },
            "kafka/older": {
                **quick,
                "brokers": ["127.0.0.1:2"],
                "auth": {"plain_text": {"username": "me", "password": secret("plain-text")}, "tls": kafka_tls},
            },
            "sdk": {
                **quick,
                "exporter": "otlp_proto_http",
                "arguments": {
                    "endpoint": f"{private_url}/v1/traces",
                    "headers": {"x-api-key": secret("sdk-header")},
                },
            },
        },
        "extensions": {
            "bearertokenauth": {"token": secret("token")},
            "bearertokenauth/several": {"tokens": [secret("tokens"), secret("tokens")]},
            "bearertokenauth/file": {"filename": str(folder / "tokens")},
            "basicauth/inline": {"htpasswd": {"inline": f"me:{secret('inline')}"}},
            "basicauth/file": {"htpasswd": {"file": str(folder / "htpasswd")}},
            "basicauth/client": {"client_auth": {"username": "me", "password": secret("client")}},
            "basicauth/client_files": {
                "client_auth": {"username_file": str(folder / "name"), "password_file": str(folder / "password")}
            },
            "health_check": {"use_v2": True, "http": {"endpoint": "127.0.0.1:0"}},
        },
        "service": {
            "extensions": [
                *("bearertokenauth", "bearertokenauth/several", "bearertokenauth/file", "basicauth/inline"),
                *("basicauth/file", "basicauth/client", "basicauth/client_files", "health_check"),
            ],
            "pipelines": {
                "traces": {
                    "receivers": ["otlp", "zipkin", "kafka", "kafka/older"],
                    "processors": ["tracead"],
                    "exporters": [
                        *("otlp_http", "otlp_http/query", "otlp_grpc", "zipkin", "kafka", "kafka/older", "sdk"),
                    ],
                },
                "traces/direct": {"receivers": ["otlp/plain"], "exporters": ["otlp_http/proxy"]},
            },
            "telemetry": {
                "logs": {"level": "debug", "encoding": "json", "sampling": {"enabled": False}},
                "metrics": {"address": "127.0.0.1:0"},
            },
        },
    }
