"""The manifests: valid for the API, true about the stage that they run."""

import copy
import re
import shutil
import subprocess
import sys
from itertools import pairwise
from typing import Any

import kubernetes_validate
import pytest
import yaml

from otel_tracead.artifact import folder
from otel_tracead.duration import parse_duration
from tests.deploy.drain import drain_seconds
from tests.source_tree import ROOT

FOLDER = ROOT / "deploy/kubernetes"
KUSTOMIZATION = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
CONFIG = yaml.safe_load((FOLDER / "config.yaml").read_text())


def _documents() -> list[dict[str, Any]]:
    return [one for name in KUSTOMIZATION["resources"] for one in yaml.safe_load_all((FOLDER / name).read_text())]


def _find(kind: str) -> dict[str, Any]:
    (found,) = (one for one in _documents() if one["kind"] == kind)
    return found


STATEFUL_SET = _find("StatefulSet")["spec"]
POD = STATEFUL_SET["template"]["spec"]
(CONTAINER,) = POD["containers"]
PORTS = {port["name"]: port["containerPort"] for port in CONTAINER["ports"]}


def _port(endpoint: str) -> int:
    return int(endpoint.rpartition(":")[2])


def test_every_file_belongs_to_the_kustomization():
    named = {*KUSTOMIZATION["resources"], *KUSTOMIZATION["configMapGenerator"][0]["files"], "kustomization.yaml"}
    assert {path.name for path in FOLDER.glob("*.yaml")} == named


@pytest.mark.parametrize("document", _documents(), ids=lambda one: one["kind"])
def test_they_are_what_the_api_takes(document):
    kubernetes_validate.validate(document, "1.33", strict=True)


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="no kubectl")
def test_kustomize_builds_them():
    done = subprocess.run(["kubectl", "kustomize", str(FOLDER)], capture_output=True, text=True, check=True)
    built = list(yaml.safe_load_all(done.stdout))
    assert {one["kind"] for one in built} == {one["kind"] for one in _documents()} | {"ConfigMap"}
    assert {one["metadata"].get("namespace", "tracing") for one in built} == {"tracing"}
    (config,) = (one for one in built if one["kind"] == "ConfigMap")
    assert yaml.safe_load(config["data"]["config.yaml"]) == CONFIG
    (stateful_set,) = (one for one in built if one["kind"] == "StatefulSet")
    (volume,) = (one for one in stateful_set["spec"]["template"]["spec"]["volumes"] if one["name"] == "config")
    assert volume["configMap"]["name"] == config["metadata"]["name"]


def test_the_configuration_is_valid_as_the_container_is_told_to_run_it():
    assert CONTAINER["args"][0] == "run"
    arguments = [argument.replace("/etc/otel-tracead", str(FOLDER)) for argument in CONTAINER["args"][1:]]
    command = [sys.executable, "-m", "otel_tracead", "validate", *arguments]
    env = {one["name"]: one["value"] for one in CONTAINER["env"]}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    # Nothing that the manifest sets goes unread, and the configuration asks for nothing else.
    asked = re.findall(r"\$\{env:(\w+)", (FOLDER / "config.yaml").read_text())
    assert {*asked} == {*env}


def test_ports_are_those_of_the_configuration():
    reader = CONFIG["service"]["telemetry"]["metrics"]["readers"][0]["pull"]["exporter"]["prometheus"]
    assert {
        "otlp-grpc": _port(CONFIG["receivers"]["otlp"]["protocols"]["grpc"]["endpoint"]),
        "metrics": reader["port"],
        "health": _port(CONFIG["extensions"]["health_check"]["endpoint"]),
    } == PORTS
    assert "health_check" in CONFIG["service"]["extensions"]
    # All of a pod's addresses: probes and senders come from outside.
    hosts = [reader["host"], CONFIG["extensions"]["health_check"]["endpoint"].rpartition(":")[0]]
    assert {*hosts, CONFIG["receivers"]["otlp"]["protocols"]["grpc"]["endpoint"].rpartition(":")[0]} == {"0.0.0.0"}
    assert {port["targetPort"]: port["port"] for port in _find("Service")["spec"]["ports"]} == {
        name: PORTS[name] for name in ("otlp-grpc", "metrics")
    }
    scrape = STATEFUL_SET["template"]["metadata"]["annotations"]
    assert int(scrape["prometheus.io/port"]) == PORTS["metrics"]


@pytest.mark.parametrize("probe", ["startupProbe", "readinessProbe", "livenessProbe"])
def test_probes_ask_the_health_check(probe):
    assert CONTAINER[probe]["httpGet"] == {
        "path": CONFIG["extensions"]["health_check"].get("path", "/"),
        "port": "health",
    }


def test_a_drain_is_not_cut_off():
    drain = drain_seconds(FOLDER / "config.yaml")
    before = CONTAINER["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert drain >= 50  # the processor's and the exporter's; Kubernetes' own default is 30 s in all
    assert POD["terminationGracePeriodSeconds"] >= before + drain + 10
    liveness = CONTAINER["livenessProbe"]
    assert liveness["periodSeconds"] * liveness["failureThreshold"] >= drain + 10


def test_routes_are_known_before_a_replica_stops_to_listen():
    # The exporter's resolvers look every 5 s unless told otherwise.
    assert CONTAINER["lifecycle"]["preStop"]["sleep"]["seconds"] > parse_duration("5s")


def test_the_service_is_headless_and_names_the_replicas():
    service = _find("Service")
    assert service["spec"]["clusterIP"] == "None"
    assert STATEFUL_SET["serviceName"] == service["metadata"]["name"]
    labels = STATEFUL_SET["template"]["metadata"]["labels"]
    selectors = [service["spec"]["selector"], STATEFUL_SET["selector"]["matchLabels"]]
    selectors.append(_find("PodDisruptionBudget")["spec"]["selector"]["matchLabels"])
    selectors.append(POD["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"])
    assert all(selector.items() <= labels.items() for selector in selectors)


def test_replicas_come_and_go_slower_than_traces_finish():
    scaler = _find("HorizontalPodAutoscaler")["spec"]
    target = scaler["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("StatefulSet", _find("StatefulSet")["metadata"]["name"])
    for direction in ("scaleUp", "scaleDown"):
        (policy,) = scaler["behavior"][direction]["policies"]
        assert (policy["type"], policy["value"]) == ("Pods", 1)
        assert (
            policy["periodSeconds"] >= 2 * drain_seconds(FOLDER / "config.yaml") / 3 + STATEFUL_SET["minReadySeconds"]
        )
    windows = [scaler["behavior"][one]["stabilizationWindowSeconds"] for one in ("scaleUp", "scaleDown")]
    assert all(first < second for first, second in pairwise(windows))


def test_nothing_in_a_replica_is_more_than_it_needs():
    assert POD["securityContext"]["runAsNonRoot"] is True
    assert POD["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not any(POD.get(shared) for shared in ("hostNetwork", "hostPID", "hostIPC"))
    assert not any("hostPath" in volume for volume in POD["volumes"])
    assert POD["automountServiceAccountToken"] is False
    context = CONTAINER["securityContext"]
    assert context["readOnlyRootFilesystem"] is True
    assert context["allowPrivilegeEscalation"] is False
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert "cpu" not in CONTAINER["resources"]["limits"]


def test_the_storage_of_the_page_fits_the_replicas():
    page = (ROOT / "deploy/README.md").read_text(encoding="utf-8")
    (written,) = re.findall(r"```yml\n(spec:\n  volumeClaimTemplates:.*?)```", page, re.DOTALL)
    changed = copy.deepcopy(_find("StatefulSet"))
    (claim,) = yaml.safe_load(written)["spec"]["volumeClaimTemplates"]
    volumes = changed["spec"]["template"]["spec"]["volumes"]
    assert claim["metadata"]["name"] in [volume["name"] for volume in volumes]
    volumes[:] = [volume for volume in volumes if volume["name"] != claim["metadata"]["name"]]
    changed["spec"]["volumeClaimTemplates"] = [claim]
    kubernetes_validate.validate(changed, "1.33", strict=True)
    assert {"name": claim["metadata"]["name"], "mountPath": "/var/lib/otel-tracead"} in CONTAINER["volumeMounts"]


def test_a_model_may_come_as_a_config_map(tmp_path):
    # As the kubelet mounts one: files are links into `..data`, itself a link to a folder with the time.
    mounted = tmp_path / "..2026_01_31_12_00_00.123456789"
    shutil.copytree(ROOT / "model_artifacts/shop", mounted)
    assert sum(path.stat().st_size for path in mounted.iterdir()) < 1 << 20  # what the API takes
    (tmp_path / "..data").symlink_to(mounted.name)
    for path in mounted.iterdir():
        (tmp_path / path.name).symlink_to(f"..data/{path.name}")
    assert folder.load(tmp_path).manifest.name == "shop"
