"""Everybody's health as one answer: the Collector's aggregation and its JSON; pure."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from otel_tracead.extensions.health_check.config import ComponentHealthConfig
from otel_tracead.health import Event, Overview, Status, worst

_CODES: Final = {Status.STARTING: 503, Status.STOPPING: 503, Status.STOPPED: 503}


class Report:
    """How the service is, at one moment.

    Args:
        overview: how everybody is.
        config: which errors make it unhealthy; None for none.
        now: seconds since 1970.
    """

    def __init__(self, overview: Overview, config: ComponentHealthConfig | None, now: float) -> None:
        self._overview = overview
        self._config = config or ComponentHealthConfig()
        self._now = now
        errors = [Status.PERMANENT_ERROR, Status.RECOVERABLE_ERROR]
        if self._config.include_recoverable_errors and not self._config.include_permanent_errors:
            errors.reverse()  # the one that counts is the one to be told of
        self._order = (Status.STARTING, Status.STOPPING, Status.STOPPED, *errors, Status.OK)

    def whole(self, start: float, *, verbose: bool) -> tuple[int, dict[str, Any]]:
        """Give status code and document of the whole service, which started at *start*."""
        parts = {"extensions": self._overview.extensions} if self._overview.extensions else {}
        parts |= {f"pipeline:{id_}": events for id_, events in self._overview.pipelines.items()}
        event = self._worst({f"{name}/{id_}": one for name, events in parts.items() for id_, one in events.items()})
        below = {name: self._document(self._worst(events), self._each(events)) for name, events in parts.items()}
        return self._answer(event, start, below if verbose else None)

    def pipeline(self, id_: str, start: float, *, verbose: bool) -> tuple[int, dict[str, Any]] | None:
        """Give the same of one pipeline, or None if there is none of this name."""
        events = self._overview.pipelines.get(id_)
        if events is None:
            return None
        return self._answer(self._worst(events), start, self._each(events) if verbose else None)

    def _answer(self, event: Event, start: float, below: dict[str, Any] | None) -> tuple[int, dict[str, Any]]:
        document = {"start_time": _time(start), **self._document(event, below)}
        return 500 if not document["healthy"] else _CODES.get(event.status, 200), document

    def _each(self, events: Mapping[str, Event]) -> dict[str, Any]:
        return {name: self._document(event) for name, event in events.items()}

    def _document(self, event: Event, below: dict[str, Any] | None = None) -> dict[str, Any]:
        document: dict[str, Any] = {"healthy": self._healthy(event), "status": event.status.value}
        if event.error:
            document["error"] = event.error
        document["status_time"] = _time(event.since)
        return document if below is None else {**document, "components": below}

    def _healthy(self, event: Event) -> bool:
        if event.status is Status.PERMANENT_ERROR:
            return not self._config.include_permanent_errors
        if event.status is Status.RECOVERABLE_ERROR and self._config.include_recoverable_errors:
            return self._now < event.since + self._config.recovery_duration
        return True

    def _worst(self, events: Mapping[str, Event]) -> Event:
        return worst(events.values(), self._order) or Event(Status.OK, self._now)


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
