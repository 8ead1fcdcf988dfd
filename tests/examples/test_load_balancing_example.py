"""The Collector's side of several replicas: the exporter is not in our build of it, so its keys are held to its documentation."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from otel_tracead.duration import parse_duration
from tests.source_tree import ROOT
from tools.peers import Unavailable
from tools.peers.otelcol import validate

EXAMPLE = ROOT / "examples/load-balancing.yaml"
DOCUMENTED = yaml.safe_load((Path(__file__).parent / "load_balancing_keys.yaml").read_text())
TEXT = EXAMPLE.read_text()
CONFIG = yaml.safe_load(TEXT)
EXPORTER = CONFIG["exporters"][DOCUMENTED["name"]]

TYPES = {"string": str, "list": list, "boolean": bool, "integer": int, "duration": str, "any": object}


def _wrong(written: Any, documented: Any, path: str = "") -> list[str]:
    """Keys that are not documented, and values of another type."""
    if isinstance(documented, str):
        fits = isinstance(written, TYPES[documented])
        if documented == "duration":
            parse_duration(written)
        return [] if fits else [f"{path} is no {documented}"]
    unknown = [f"{path}{key} is not documented" for key in written if key not in documented]
    known = [key for key in written if key in documented]
    return unknown + [one for key in known for one in _wrong(written[key], documented[key], f"{path}{key}::")]


def test_every_key_is_documented():
    assert _wrong(EXPORTER, DOCUMENTED["keys"]) == []
    assert EXPORTER["routing_key"] in DOCUMENTED["routing_keys_of_traces"]
    assert len(EXPORTER["resolver"]) == 1  # the exporter takes one
    assert "endpoint" not in EXPORTER["protocol"]["otlp"]


def test_the_resolver_in_the_comment_is_documented_too():
    (line,) = re.findall(r"#   (k8s: .*)", TEXT)
    assert _wrong(yaml.safe_load(line), DOCUMENTED["keys"]["resolver"]) == []


def test_a_mistake_is_found():
    mistaken = {"routing_keys": "traceID", "resolver": {"static": {"hostname": ["a"]}, "dns": {"port": 4317}}}
    assert len(_wrong(mistaken, DOCUMENTED["keys"])) == 3


def test_a_failed_replica_is_not_the_others_business():
    # https://github.com/open-telemetry/opentelemetry-collector-contrib/issues/50437
    assert not {"retry_on_failure", "sending_queue"} & EXPORTER.keys()
    assert EXPORTER["protocol"]["otlp"]["retry_on_failure"]["max_elapsed_time"] == "0s"


def test_it_knows_the_replicas_of_the_other_example():
    replica = yaml.safe_load((ROOT / "examples/replica.yaml").read_text())
    endpoint = replica["receivers"]["otlp"]["protocols"]["grpc"]["endpoint"]
    addresses = [re.sub(r"\$\{env:\w+:-(.*?)\}", r"\1", text) for text in EXPORTER["resolver"]["static"]["hostnames"]]
    expected = [
        endpoint.replace("${env:TRACEAD_HOST:-localhost}", "localhost").replace(
            "${env:TRACEAD_REPLICA:-1}", str(number)
        )
        for number in (1, 2)
    ]
    assert addresses == expected


@pytest.mark.peers
def test_the_collector_takes_the_rest(tmp_path):
    """With `otlp_grpc` in the exporter's place: the template of its requests has all keys of that one but the endpoint."""
    template = {"endpoint": "localhost:4317", **EXPORTER["protocol"]["otlp"]}
    changed = {**CONFIG, "exporters": {"otlp_grpc": template}}
    changed["service"] = yaml.safe_load(yaml.safe_dump(CONFIG["service"]).replace(DOCUMENTED["name"], "otlp_grpc"))
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(changed))
    try:
        complaint = validate(tmp_path / "config.yaml")
    except Unavailable as missing:
        pytest.skip(str(missing))
    assert complaint == ""
