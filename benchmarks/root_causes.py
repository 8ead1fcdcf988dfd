"""How often does `rank` name the service at fault, on real faults? `python -m benchmarks.root_causes`.

What is normal is learned from the normal traces of the blocks of time that a fault does not lie in, as `train` does it.
As a reference serve the normal traces of the minutes nearest to the fault, none of them its own. A window holds the traces that
began after the injection, or the whole of the fault's minutes, of which a part is normal. Beside it stands a plain
rule: the service whose median span duration grew by the largest factor.
"""

import argparse
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from benchmarks import report
from benchmarks.targets.traffic import NORMAL, SYSTEMS, VISIBLE, Traffic, folder, read
from otel_tracead.detection.norms import Norms, learn, measure, unpack
from otel_tracead.detection.ranking import STANDS_OUT, rank
from otel_tracead.detection.traffic_sums import Split, TrafficSums
from otel_tracead.traces import dictionary as dictionaries
from otel_tracead.traces.encoding import Events, select

Ints = npt.NDArray[np.int64]

MODEL: Final = "model"
REFERENCE: Final = "reference"
RULE: Final = "plain rule"
AFTER: Final = "after the injection"
WHOLE: Final = "whole minutes"
_NEAREST: Final = 6  # minutes of a reference
_TOGETHER: Final = 500  # traces


@dataclass(frozen=True, slots=True)
class Named:
    """What one method said of one fault.

    Attributes:
        system: where.
        fault: its id.
        kind: its type.
        service: the service at fault.
        window: which traces were looked at.
        against: the method.
        place: of the service at fault in the ranking, from 1.
        stands_out: whether the first service stood out; the plain rule's always does.
    """

    system: str
    fault: str
    kind: str
    service: str
    window: str
    against: str
    place: int
    stands_out: bool


def evaluate(system: str, folds: int) -> list[Named]:
    """Rank the services for each fault of *system*, in every way."""
    traffic = read(system)
    faults = json.loads((folder() / system / "faults.json").read_text())["faults"]
    return [named for fault in faults if fault["files"] for named in _named(traffic, fault, folds)]


def _named(traffic: Traffic, fault: dict[str, Any], folds: int) -> Iterator[Named]:
    own = np.isin(traffic.minute, [traffic.minutes.index(name) for name in fault["files"]])
    began = traffic.events.began
    windows = {AFTER: np.flatnonzero(own & (began >= fault["injected_at_unix_nano"])), WHOLE: np.flatnonzero(own)}
    training = _training(traffic, own, folds)
    usual = {MODEL: _learned(select(traffic.events, training)), REFERENCE: _measured(traffic, own)}
    for window, traces in windows.items():
        events = select(traffic.events, traces)
        answers = {against: rank(_sums(events, Split.INSTANCE), norms) for against, norms in usual.items()}
        said = {
            against: ([one.service for one in answer.services], answer.services[0].score >= STANDS_OUT)
            for against, answer in answers.items()
        }
        said[RULE] = (_slowest(events, select(traffic.events, training)), True)
        for against, (services, stands_out) in said.items():
            place = [*services, fault["service"]].index(fault["service"]) + 1
            yield Named(
                traffic.system, fault["id"], fault["type"], fault["service"], window, against, place, stands_out
            )


def _training(traffic: Traffic, own: npt.NDArray[np.bool_], folds: int) -> Ints:
    """Give the normal traces of all blocks of time but that in which the minutes *own* begin."""
    normal = traffic.state == NORMAL
    parts = np.array_split(np.unique(traffic.minute[normal]), folds)
    at = traffic.minute[own].min()
    held = max(number for number, part in enumerate(parts) if number == 0 or part[0] <= at)
    return np.flatnonzero(normal & ~np.isin(traffic.minute, parts[held]) & ~own)


def _learned(events: Events) -> Norms:
    counts = Counter(dict(enumerate(np.bincount(events.label, minlength=len(events.labels)).tolist())))
    names = {events.labels[index]: count for index, count in counts.items() if count}
    dictionary = dictionaries.learn(names, max_labels=2000, min_count=5)
    return unpack(learn(events, dictionary), dictionary)


def _measured(traffic: Traffic, own: npt.NDArray[np.bool_]) -> Norms:
    normal = np.unique(traffic.minute[(traffic.state == NORMAL) & ~own])
    distance = np.abs(normal - np.median(traffic.minute[own]))
    nearest = normal[np.argsort(distance, kind="stable")[:_NEAREST]]
    chosen = np.flatnonzero((traffic.state == NORMAL) & ~own & np.isin(traffic.minute, nearest))
    return measure(_sums(select(traffic.events, chosen), Split.TIME))


def _sums(events: Events, split: Split) -> TrafficSums:
    sums = TrafficSums(split)
    for begin in range(0, events.traces, _TOGETHER):
        sums.add(select(events, np.arange(begin, min(begin + _TOGETHER, events.traces))))
    return sums


def _slowest(window: Events, normal: Events) -> list[str]:
    """Rank services by the growth of their spans' median duration."""

    def medians(events: Events) -> dict[str, float]:
        return {
            name: float(np.median(events.duration_us[events.service == index]))
            for index, name in enumerate(events.services)
            if (events.service == index).any()
        }

    now, before = medians(window), medians(normal)
    return sorted(now, key=lambda name: -now[name] / max(before.get(name, np.inf), 1.0))


def table(named: Sequence[Named]) -> list[dict[str, Any]]:
    """Sum up: one row for each system, window, method and type of fault, and for all and the visible ones."""
    groups: dict[tuple[str, str, str, str], list[Named]] = defaultdict(list)
    for one in named:
        kinds = ["all", one.kind, *(["cpu and network"] if one.kind in VISIBLE else [])]
        for kind in kinds:
            groups[one.system, one.window, one.against, kind].append(one)
    return [
        {
            "system": system,
            "window": window,
            "against": against,
            "faults": kind,
            "count": len(group),
            "first": float(np.mean([one.place == 1 for one in group])),
            "first_three": float(np.mean([one.place <= 3 for one in group])),
            "stands_out": float(np.mean([one.stands_out for one in group])),
        }
        for (system, window, against, kind), group in groups.items()
    ]


def text(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Lay out the rows, one section a system and window."""
    sections = []
    for system, window in dict.fromkeys((row["system"], row["window"]) for row in rows):
        own = [row for row in rows if (row["system"], row["window"]) == (system, window)]
        methods = list(dict.fromkeys(row["against"] for row in own))
        lines = [f"{system}, {window}", f"{'faults':<18}{'count':>6}" + "".join(f"{one:>16}" for one in methods)]
        for kind in sorted(
            {row["faults"] for row in own}, key=lambda one: (one != "all", one != "cpu and network", one)
        ):
            these = {row["against"]: row for row in own if row["faults"] == kind}
            cells = "".join(f"{these[one]['first']:>9.0%} /{these[one]['first_three']:>5.0%}" for one in methods)
            lines.append(f"{kind:<18}{these[methods[0]]['count']:>6}{cells}")
        sections.append("\n".join(lines))
    return sections


def main() -> None:
    """Run and write docs/results/root-causes.{txt,json}."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--system", action="append", choices=SYSTEMS)
    parser.add_argument("--output", type=Path, default=report.RESULTS)
    arguments = parser.parse_args()
    document = report.header("benchmarks.root_causes", sys.argv[1:])
    named = [one for system in arguments.system or SYSTEMS for one in evaluate(system, arguments.folds)]
    rows = table(named)
    method = " ".join((__doc__ or "").split("\n\n")[1].split())
    sections = [method, *text(rows), _NOTE]
    report.conclude(
        arguments.output / "root-causes",
        "Root causes of real faults: service at fault ranked first / among the first three",
        {**document, "rows": rows, "faults": [asdict(one) for one in named]},
        sections,
    )


_NOTE: Final = """\
Most of TrainTicket's "return" and "exception" faults make a service answer wrongly: neither times nor calls change in these
spans, nothing can tell the service, and what any method names first there is chance. `rank` then says that no service
stands out, unless something else was unusual in that window ("stands_out" in the JSON)."""


if __name__ == "__main__":
    main()
