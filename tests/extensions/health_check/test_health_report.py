"""Everybody's health as one answer, and the Collector's order of what matters more."""

from typing import Any

import pytest

from otel_tracead.extensions.health_check.config import ComponentHealthConfig
from otel_tracead.extensions.health_check.report import Report
from otel_tracead.health import Event, Health, Overview, Status

OK = Event(Status.OK, 100.0)
AWAY = Event(Status.RECOVERABLE_ERROR, 200.0, "UNAVAILABLE: away")
REFUSED = Event(Status.PERMANENT_ERROR, 300.0, "HTTP 401")


def overview(**exporters: Event) -> Overview:
    return Overview(
        {"extension:health_check": OK},
        {"traces": {"receiver:otlp": OK, **{f"exporter:{name}": event for name, event in exporters.items()}}},
    )


def report(shown: Overview, now: float = 1000.0, **config: object) -> Report:
    return Report(shown, ComponentHealthConfig.model_validate(config) if config else None, now)


def test_errors_are_told_and_the_answer_stays_200_unless_they_are_to_count() -> None:
    assert report(overview(zipkin=OK)).whole(50.0, verbose=False) == (
        200,
        {
            "start_time": "1970-01-01T00:00:50Z",
            "healthy": True,
            "status": "StatusOK",
            "status_time": "1970-01-01T00:01:40Z",
        },
    )
    code, document = report(overview(zipkin=AWAY)).whole(50.0, verbose=True)
    assert (code, document["status"], document["error"]) == (200, "StatusRecoverableError", "UNAVAILABLE: away")
    parts = document["components"]
    assert parts["extensions"]["status"] == "StatusOK"
    assert parts["pipeline:traces"]["status"] == "StatusRecoverableError"
    assert parts["pipeline:traces"]["components"]["exporter:zipkin"] == {
        "healthy": True,
        "status": "StatusRecoverableError",
        "error": "UNAVAILABLE: away",
        "status_time": "1970-01-01T00:03:20Z",
    }


@pytest.mark.parametrize(
    ("events", "config", "code", "status"),
    [
        ({"a": AWAY, "b": REFUSED}, {}, 200, "StatusPermanentError"),
        ({"a": AWAY, "b": REFUSED}, {"include_permanent_errors": True}, 500, "StatusPermanentError"),
        ({"a": AWAY, "b": REFUSED}, {"include_recoverable_errors": True}, 500, "StatusRecoverableError"),
        (
            {"a": AWAY, "b": REFUSED},
            {"include_recoverable_errors": True, "recovery_duration": "1h"},
            200,
            "StatusRecoverableError",
        ),
        ({"a": AWAY}, {"include_permanent_errors": True}, 200, "StatusRecoverableError"),
        ({"a": REFUSED}, {"include_recoverable_errors": True}, 200, "StatusPermanentError"),
        ({"a": Event(Status.STARTING, 0.0), "b": AWAY}, {}, 503, "StatusStarting"),
        ({"a": Event(Status.STOPPING, 0.0)}, {}, 503, "StatusStopping"),
        ({"a": Event(Status.STOPPED, 0.0)}, {}, 503, "StatusStopped"),
    ],
)
def test_what_counts(events: dict[str, Event], config: dict[str, Any], code: int, status: str) -> None:
    found, document = report(overview(**events), **config).whole(0.0, verbose=False)
    assert (found, document["status"], document["healthy"]) == (code, status, code != 500)


def test_a_pipeline_of_its_own() -> None:
    shown = report(overview(zipkin=AWAY), include_recoverable_errors=True)
    assert shown.pipeline("traces/none", 0.0, verbose=True) is None
    code, document = shown.pipeline("traces", 0.0, verbose=True) or (0, {})
    assert (code, set(document["components"])) == (500, {"receiver:otlp", "exporter:zipkin"})
    assert "components" not in (shown.pipeline("traces", 0.0, verbose=False) or (0, {}))[1]


def test_a_component_says_since_when() -> None:
    times = iter(range(100))
    health = Health(lambda: float(next(times)))
    assert health.event == Event(Status.STARTING, 0.0)
    health.recoverable("the broker is away")
    health.started()  # it has said something else
    health.recoverable("and still is")
    assert health.event == Event(Status.RECOVERABLE_ERROR, 1.0, "and still is")
    health.permanent("no such topic")
    assert health.event == Event(Status.PERMANENT_ERROR, 2.0, "no such topic")
    health.ok()
    health.ok()
    assert health.event == Event(Status.OK, 3.0)
    health.stopping()
    health.recoverable("not asked any more")
    assert health.event.status is Status.STOPPING
    health.stopped()
    assert health.event.status is Status.STOPPED
