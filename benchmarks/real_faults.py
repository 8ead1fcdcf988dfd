"""How well does the default model tell minutes with real faults from normal ones? `python -m benchmarks.real_faults`.

The normal minutes are cut into blocks of time. For each block a model is trained on the normal traces of the other
blocks; the block's own normal minutes and all fault minutes are then scored at the default budget. Traces are cut by the
time of the injection, as the data's README says. Nothing of a test minute is seen in training.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from otel_tracead.detection.check import auc, try_out
from otel_tracead.detection.detector import DetectionSettings, ModelDetector
from otel_tracead.detection.scorer import Scorer
from otel_tracead.detection.verdicts import ModelInfo
from otel_tracead.traces.encoding import Encoder, Events, concatenate, select
from otel_tracead.traces.labels import LabelTemplate
from otel_tracead.traces.offline import Gatherer
from otel_tracead.traces.sequences import Order
from otel_tracead.training.learning import LearningSettings, learn
from otel_tracead.training.recipe import Recipe
from otel_tracead.wire.files import read_file
from otel_tracead.wire.otlp import Envelopes

NORMAL, FAULT, NEITHER = range(3)
VISIBLE = ("cpu_contention", "cpu_consumed", "network_delay")
FEWEST = 10  # traces of a class in a minute, below which its share says nothing


def read(folder: Path) -> tuple[Events, np.ndarray, np.ndarray, list[dict[str, Any]]]:
    """Read all minutes: events, the file of each trace, its class, and the faults."""
    faults = json.loads((folder / "faults.json").read_text())["faults"]
    by_file = defaultdict(list)
    for fault in faults:
        for name in fault["files"]:
            by_file[name].append(fault)
    encoder, envelopes = Encoder(LabelTemplate()), Envelopes()
    parts, files, classes = [], [], []
    for path in sorted(folder.glob("*.jsonl.gz")):
        gatherer = Gatherer()
        traces = [trace for _, batch in read_file(path, envelopes) for trace in gatherer.add(batch)]
        traces += list(gatherer.drain())
        part = encoder.encode(traces)
        first = np.minimum.reduceat(part.start, part.offsets[:-1])
        last = np.maximum.reduceat(part.start + (part.duration_us * 1e3).astype(np.int64), part.offsets[:-1])
        kind = np.full(part.traces, NORMAL)
        if not path.name.startswith("fault_free"):
            for fault in by_file[path.name]:
                at = fault["injected_at_unix_nano"]
                before = NEITHER if fault["active_before_injection"] else NORMAL
                own = np.where(first >= at, FAULT, np.where(last < at, before, NEITHER))
                kind = np.where(kind == NORMAL, own, kind)
        parts.append(part)
        files += [path.name] * part.traces
        classes.append(kind)
    return concatenate(parts), np.array(files), np.concatenate(classes), faults


def share(marked: np.ndarray, files: np.ndarray) -> dict[str, float]:
    """Give the share of marked traces of each file with enough traces."""
    return {name: float(marked[files == name].mean()) for name in np.unique(files) if (files == name).sum() >= FEWEST}


def evaluate(system: str, folder: Path, folds: int, seed: int, out: dict[str, Any]) -> None:
    """Train and score one system, block after block."""
    events, files, classes, faults = read(folder)
    kind_of = {name: fault["type"] for fault in faults for name in fault["files"]}
    normal_files = np.unique(files[classes == NORMAL])
    fault_traces = np.flatnonzero(classes == FAULT)
    faulty = select(events, fault_traces)
    rows = []
    for number, block in enumerate(np.array_split(normal_files, folds)):
        held = np.isin(files, block)
        training = np.flatnonzero((classes == NORMAL) & ~held)
        test = np.flatnonzero((classes == NORMAL) & held)
        started = time.monotonic()
        learned = learn(select(events, training), LearningSettings(recipe=Recipe(seed=seed)))
        seconds = time.monotonic() - started
        detector = ModelDetector(
            dictionary=learned.dictionary,
            calibration=learned.calibration,
            scorer=Scorer(learned.network, state=learned.architecture.state, provider="cpu"),
            template=LabelTemplate(),
            order=Order.TREE,
            info=ModelInfo(system, "0"),
            settings=DetectionSettings(),
        )
        tried = try_out(detector, select(events, test), count=200, seed=seed)
        clean = tried.clean >= detector.threshold
        marked = detector.assess(faulty).score >= detector.threshold
        clean_share, fault_share = share(clean, files[test]), share(marked, files[fault_traces])
        visible = [fault_share[name] for name in fault_share if kind_of[name] in VISIBLE]
        row = {
            "block": number,
            "training_traces": len(training),
            "test_traces": len(test),
            "train_s": round(seconds, 1),
            "clean_marked": float(clean.mean()),
            "fault_marked": float(marked.mean()),
            "auc_minutes": auc(np.array(list(clean_share.values())), np.array(list(fault_share.values())))[0],
            "auc_minutes_cpu_network": auc(np.array(list(clean_share.values())), np.array(visible))[0],
            **{
                f"recall_{kind}": float((scores >= detector.threshold).mean())
                for kind, scores in tried.anomalous.items()
            },
            **{f"located_{kind}": float(found.mean()) for kind, found in tried.found_at.items() if len(found)},
        }
        rows.append(row)
        print(system, json.dumps({k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()}), flush=True)
    out[system] = {
        "blocks": rows,
        "mean": {key: float(np.mean([row[key] for row in rows if key in row])) for key in rows[0] if key != "block"},
    }


def main() -> None:
    """Run and write docs/results/real-faults.{txt,json}."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folds", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--system", action="append", choices=["online_boutique", "train_ticket"])
    arguments = parser.parse_args()
    data = Path(os.environ.get("TRACEAD_DATA") or Path(__file__).parents[2] / "shared" / "data")
    out: dict[str, Any] = {}
    for system in arguments.system or ["online_boutique", "train_ticket"]:
        evaluate(system, data / system, arguments.folds, arguments.seed, out)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout
    lines = [
        "Real faults, default model, default budget (1 % of traces).",
        f"command: python -m benchmarks.real_faults {' '.join(sys.argv[1:])}".rstrip(),
        f"commit: {commit.strip()}   machine: {platform.machine()}, {os.cpu_count()} cores",
        "method: " + " ".join((__doc__ or "").split("\n\n")[1].split()),
        "",
    ]
    systems = list(out)
    lines.append(f"{'mean over blocks':<28}" + "".join(f"{name:>18}" for name in systems))
    for key in out[systems[0]]["mean"]:
        values = "".join(f"{out[name]['mean'].get(key, float('nan')):>18.4g}" for name in systems)
        lines.append(f"{key:<28}{values}")
    results = Path(__file__).parents[1] / "docs" / "results"
    results.mkdir(parents=True, exist_ok=True)
    (results / "real-faults.txt").write_text("\n".join(lines) + "\n")
    (results / "real-faults.json").write_text(json.dumps(out, indent=1) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
