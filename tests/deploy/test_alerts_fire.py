"""Each alert fires when it should and not otherwise: tried by Prometheus' own tool, where it is there."""

import shutil
import subprocess

import pytest
import yaml

from tests.deploy.test_monitoring import ALERTS

AT = 'job="otel-tracead", instance="a:8888"'
P, E, R = f'{AT}, processor="tracead"', f'{AT}, exporter="otlp_grpc"', f'{AT}, receiver="otlp", transport="grpc"'
Q = P.replace("a:8888", "b:8888")
BUSY = "0+3000x3000"  # a minute: 50 a second

# Series by minute for two days: what makes it fire, and what is as near as may be and does not.
CASES = {
    "TraceadDown": ({f"up{{{AT}}}": "0x3000"}, {f"up{{{AT}}}": "1x2990 0x1 1x8"}),
    "TraceadRestarts": (
        {f"otelcol_process_uptime{{{AT}}}": "0+60x2960 5 65 5 65 5 65 5 65+60x30"},
        {f"otelcol_process_uptime{{{AT}}}": "0+60x2990 5 65"},
    ),
    "TraceadSpansGivenUp": (
        {f"otelcol_exporter_send_failed_spans{{{E}}}": "0x2995 7x10"},
        {f"otelcol_exporter_send_failed_spans{{{E}}}": "0x10 7x3000"},
    ),
    "TraceadSpansDropped": (
        {f"otelcol_processor_tracead_spans_dropped{{{P}}}": "0x2995 7x10"},
        {f"otelcol_processor_tracead_spans_dropped{{{P}}}": "0x3000"},
    ),
    "TraceadCopiesDropped": tuple(
        {f'otelcol_tracead_fanout_spans_dropped{{{AT}, component="debug"}}': values}
        for values in ("0x2995 7x10", "7x3000")
    ),
    "TraceadSpansRejected": (
        {f"otelcol_exporter_tracead_rejected_spans{{{E}}}": "0x2995 7x10"},
        {f"otelcol_exporter_tracead_rejected_spans{{{E}}}": "0x3000"},
    ),
    "TraceadReceiverFails": (
        {f"otelcol_receiver_failed_spans{{{R}}}": "0x2995 7x10"},
        {f"otelcol_receiver_failed_spans{{{R}}}": "0x3000"},
    ),
    "TraceadRefuses": (
        {f"otelcol_receiver_refused_spans{{{R}}}": "0+60x3000", f"otelcol_receiver_accepted_spans{{{R}}}": BUSY},
        {f"otelcol_receiver_refused_spans{{{R}}}": "0+20x3000", f"otelcol_receiver_accepted_spans{{{R}}}": BUSY},
    ),
    "TraceadQueueNearlyFull": tuple(
        {
            f'otelcol_exporter_queue_size{{{E}, data_type="traces"}}': f"{size}x3000",
            f'otelcol_exporter_queue_capacity{{{E}, data_type="traces"}}': "1000x3000",
        }
        for size in (900, 700)
    ),
    "TraceadMemoryShort": tuple(
        {f'otelcol_processor_memory_limiter_refused_spans{{{AT}, processor="memory_limiter"}}': f"0+{step}x3000"}
        for step in (10, 0)
    ),
    "TraceadBackendSlow": tuple(
        {f"otelcol_processor_tracead_spans_pending{{{P}}}": f"{spans}x3000"} for spans in (150_000, 90_000)
    ),
    "TraceadStorageFails": tuple(
        {f'otelcol_extension_tracead_storage_failures{{{AT}, extension="file_storage", store="tracead"}}': values}
        for values in ("0x2995 1x10", "1x3000")
    ),
    "TraceadFilesShort": tuple(
        {
            f"otelcol_process_tracead_open_files{{{AT}}}": f"{files}x3000",
            f"otelcol_process_tracead_max_files{{{AT}}}": "1024x3000",
        }
        for files in (900, 700)
    ),
    "TraceadLogUnread": tuple(
        {f"otelcol_process_tracead_lines_left_out{{{AT}}}": values} for values in ("0x2995 7x10", "7x3000")
    ),
    "TraceadScoringFails": tuple(
        {f'otelcol_processor_tracead_traces_unscored{{{P}, reason="{reason}"}}': "0x2995 7x10"}
        for reason in ("timeout", "unknown_traffic")
    ),
    "TraceadUnknownTraffic": tuple(
        {
            f'otelcol_processor_tracead_traces_unscored{{{P}, reason="{reason}"}}': "0+300x3000",
            f'otelcol_processor_tracead_traces_released{{{P}, release="wait"}}': BUSY,
        }
        for reason in ("unknown_traffic", "invalid_id")
    ),
    "TraceadNewOperations": tuple(
        {
            f"otelcol_processor_tracead_spans_unknown_label{{{P}}}": f"0+{step}x3000",
            f"otelcol_processor_incoming_items{{{P}}}": BUSY,
        }
        for step in (60, 20)
    ),
    "TraceadManyLate": tuple(
        {
            f"otelcol_processor_tracead_spans_late{{{P}}}": f"0+{step}x3000",
            f"otelcol_processor_incoming_items{{{P}}}": BUSY,
        }
        for step in (200, 100)
    ),
    "TraceadManyIncomplete": tuple(
        {
            f"otelcol_processor_tracead_traces_incomplete{{{P}}}": f"0+{step}x3000",
            f'otelcol_processor_tracead_traces_released{{{P}, release="wait"}}': BUSY,
        }
        for step in (900, 300)
    ),
    "TraceadReleasesEarly": tuple(
        {f'otelcol_processor_tracead_traces_released{{{P}, release="{release}"}}': BUSY}
        for release in ("limit", "wait")
    ),
    "TraceadAnomalies": tuple(
        {
            f'otelcol_processor_tracead_traces_anomalous{{{P}, level="low"}}': f"0+{step}x3000",
            f'otelcol_processor_tracead_traces_anomalous{{{P}, level="high"}}': f"0+{step}x3000",
            f"otelcol_processor_tracead_traces_scored{{{P}}}": BUSY,
        }
        for step in (90, 60)
    ),
    "TraceadModelOutOfDate": tuple(
        {
            f'otelcol_processor_tracead_traces_anomalous{{{P}, level="low"}}': f"0+{step}x3000",
            f"otelcol_processor_tracead_traces_scored{{{P}}}": BUSY,
        }
        for step in (100, 60)
    ),
    "TraceadMarksNothing": tuple(
        {
            f'otelcol_processor_tracead_traces_anomalous{{{P}, level="low"}}': f"0+{step}x3000",
            f'otelcol_processor_tracead_traces_anomalous{{{P}, level="high"}}': "0x3000",
            f"otelcol_processor_tracead_traces_scored{{{P}}}": BUSY,
        }
        for step in (0, 30)
    ),
    "TraceadVerdictsSlow": tuple(
        {
            f'otelcol_processor_tracead_release_latency_bucket{{{P}, le="5.0"}}': f"0+{fast}x3000",
            f'otelcol_processor_tracead_release_latency_bucket{{{P}, le="10.0"}}': BUSY,
            f'otelcol_processor_tracead_release_latency_bucket{{{P}, le="+Inf"}}': BUSY,
        }
        for fast in (2900, 3000)
    ),
    "TraceadSpoofed": tuple(
        {f"otelcol_processor_tracead_spans_spoofed{{{P}}}": values} for values in ("0x2995 7x10", "7x3000")
    ),
    "TraceadRecordingBehind": tuple(
        {f"otelcol_processor_tracead_traces_not_recorded{{{P}}}": values} for values in ("0x2995 7x10", "7x3000")
    ),
    "TraceadModelRefused": tuple(
        {f'otelcol_processor_tracead_model_loads{{{P}, outcome="{outcome}"}}': "0x2995 1x10"}
        for outcome in ("refused", "loaded")
    ),
    "TraceadModelsDiffer": tuple(
        {
            f'otelcol_processor_tracead_model_info{{{P}, name="mine", version="1", execution_provider="cpu"}}': "1x3000",
            f'otelcol_processor_tracead_model_info{{{Q}, name="mine", version="{version}", execution_provider="cuda"}}': "1x3000",
        }
        for version in (2, 1)
    ),
    "TraceadModelOld": tuple(
        {f"otelcol_processor_tracead_model_age{{{P}}}": f"{days * 86400}x3000"} for days in (91, 89)
    ),
    "TraceadDrifted": tuple(
        {
            f'otelcol_processor_tracead_drift_ratio{{{P}, quantile="0"}}': f"{fastest}x3000",
            f'otelcol_processor_tracead_drift_ratio{{{P}, quantile="1"}}': "9x3000",
        }
        for fastest in (0.5, 0.6)
    ),
    "TraceadKafkaAway": tuple(
        {f'otelcol_receiver_tracead_kafka_brokers_up{{{AT}, receiver="kafka"}}': f"{brokers}x3000"}
        for brokers in (0, 1)
    ),
    "TraceadKafkaBehind": tuple(
        {
            f'otelcol_kafka_receiver_offset_lag{{{AT}, receiver="kafka", topic="t", partition="{partition}"}}': f"{lag}x3000"
            for partition in (0, 1)
        }
        for lag in (60_000, 40_000)
    ),
    "TraceadKafkaUnreadable": tuple(
        {f'otelcol_kafka_receiver_unmarshal_failed_spans{{{AT}, receiver="kafka", topic="t", partition="0"}}': values}
        for values in ("0x2995 1x10", "1x3000")
    ),
    "TraceadDrainIncomplete": tuple(
        {f'kube_pod_container_status_last_terminated_exitcode{{pod="p", container="{name}"}}': "137x3000"}
        for name in ("otel-tracead", "other")
    ),
    "TraceadUnitFailed": tuple(
        {f'node_systemd_unit_state{{instance="a", name="{name}.service", state="failed"}}': "1x3000"}
        for name in ("otel-tracead@2", "otel-tracead-exporter")
    ),
}


def test_every_alert_is_tried():
    assert list(CASES) == list(ALERTS)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool")
@pytest.mark.parametrize("name", CASES)
def test_it_fires_when_it_should(name, tmp_path):
    tests = [
        {
            "interval": "1m",
            "input_series": [{"series": series, "values": values} for series, values in case.items()],
            "promql_expr_test": [
                {
                    "expr": f'count(ALERTS{{alertname="{name}", alertstate="firing"}})',
                    "eval_time": "3000m",
                    "exp_samples": [{"labels": "{}", "value": 1}] if fires else [],
                }
            ],
        }
        for case, fires in zip(CASES[name], (True, False), strict=True)
    ]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "one", "rules": [ALERTS[name]]}]}))
    document = {"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": tests}
    (tmp_path / "tests.yaml").write_text(yaml.safe_dump(document))
    command = ["promtool", "test", "rules", str(tmp_path / "tests.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
