"""Run all variants and write docs/results/ablation.{txt,json}: see `python -m benchmarks.ablation --help`."""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt

from benchmarks import report
from benchmarks.ablation import __doc__ as about
from benchmarks.ablation.variants import VARIANTS, Variant
from benchmarks.targets.candidate import Model
from benchmarks.targets.figures import DETECTOR, NOBODY, minutes
from benchmarks.targets.rules import limit
from benchmarks.targets.streams import streams
from benchmarks.targets.table import area
from benchmarks.targets.traffic import SYSTEMS, VISIBLE, Block, Traffic, blocks, folder, read
from otel_tracead.detection.statistics import auc
from otel_tracead.evaluation.injections import STRUCTURAL
from otel_tracead.traces.encoding import Events, select
from otel_tracead.training.fitting import Fitted, Task, fit_all
from otel_tracead.training.learning import Learned, LearningSettings, learn
from otel_tracead.training.recipe import Recipe

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Fit = Callable[[Task, Sequence[Ints], Callable[[float], None]], list[Fitted]]

COUNTS: Final = {**dict.fromkeys(STRUCTURAL, 80), "stall": 300, "slowdown": 300}
GROUPS: Final[Mapping[str, Sequence[str]]] = {"structure": STRUCTURAL, "stalls": ("stall",), "slowdowns": ("slowdown",)}
SHARE: Final = 0.01
"""Of the block's normal traces, at which variants are compared."""


def learned(
    variant: Variant, training: Events, settings: LearningSettings, fitted: list[Fitted], fit_parts: Fit
) -> Learned:
    """Learn a variant of *settings*; *fitted* holds the default's networks, once they are there."""

    def fit(task: Task, parts: Sequence[Ints], progress: Callable[[float], None]) -> list[Fitted]:
        found = fit_parts(task, parts, progress) if variant.anew or not fitted else list(fitted)
        if not variant.anew:
            fitted[:] = found
        return found if variant.crossed else [found[-1]] * len(found)

    return learn(variant.view(training), replace(settings, sizes=settings.sizes | variant.sizes), fit=fit)


def figures(
    variant: Variant, traffic: Traffic, block: Block, model: Learned, seed: int, counts: Mapping[str, int] = COUNTS
) -> dict[str, float]:
    """Try a variant on the normal traces of a block and all faults, and on streams of those traces with anomalies."""
    candidate = Model(model, variant.rules)
    day = candidate.stream(variant.view(traffic.events), NOBODY)
    chosen = np.concatenate((block.normal, block.faulty))
    clean = np.arange(len(chosen)) < len(block.normal)
    score, marks = day.score[chosen], day.marked[chosen]
    out = {"clean": float(marks[clean].mean())}
    line = limit(score[clean], SHARE)
    scores: dict[str, list[Floats]] = {group: [] for group in GROUPS}
    marked: dict[str, list[npt.NDArray[np.bool_]]] = {group: [] for group in GROUPS}
    for injected in streams(select(traffic.events, block.normal), counts, np.random.default_rng(seed)):
        found = candidate.stream(variant.view(injected.events), NOBODY)
        for group, kinds in GROUPS.items():
            rows = np.isin(injected.kind, kinds)
            scores[group].append(found.score[rows])
            marked[group].append(found.marked[rows])
    for group in GROUPS:
        together = np.concatenate(scores[group])
        if not len(together):
            continue
        out[f"{group} found"] = float(np.concatenate(marked[group]).mean())
        if variant.rules.top_k is None and variant.rules.confidence is None:
            out[f"{group} AUC"] = auc(score[clean], together).value
            out[f"{group} at 1 %"] = float((together > line).mean())
    found_minutes = list(minutes(traffic, chosen, clean, {DETECTOR: marks}))
    out["minutes"] = area(found_minutes)[DETECTOR]
    out["minutes, cpu and network"] = area(found_minutes, VISIBLE)[DETECTOR]
    return out


def ablate(
    traffic: Traffic,
    block: Block,
    settings: LearningSettings,
    *,
    fit: Fit = fit_all,
    counts: Mapping[str, int] = COUNTS,
) -> dict[str, dict[str, float]]:
    """Learn and try all variants of *settings*, the default first."""
    out: dict[str, dict[str, float]] = {}
    fitted: list[Fitted] = []
    for variant in VARIANTS:
        with ExitStack() as stack:
            for change in variant.changes:
                stack.enter_context(change())
            model = learned(variant, select(traffic.events, block.training), settings, fitted, fit)
            out[variant.name] = figures(variant, traffic, block, model, settings.recipe.seed, counts)
        print(
            traffic.system, block.number, settings.recipe.seed, variant.name, json.dumps(out[variant.name]), flush=True
        )
    return out


def mean(found: Sequence[Mapping[str, Mapping[str, float]]]) -> dict[str, dict[str, float]]:
    """Give the mean of several runs."""
    return {
        name: {key: float(np.mean([one[name][key] for one in found])) for key in figures}
        for name, figures in found[0].items()
    }


def text(system: str, found: Mapping[str, Mapping[str, float]]) -> str:
    """Lay the variants out: marked at the budget, and compared at one share of normal traces."""
    groups = list(GROUPS)
    lines = [
        f"{'':<48}{'at the budget of 1 %':^44}{'at 1 % of clean traces':^34}{'AUC':^34}{'AUC of a minute':^20}",
        f"{system:<48}{'clean':>8}"
        + "".join(f"{group:>12}" for group in groups)
        + "".join(f"{group:>11}" for group in groups) * 2
        + f"{'all':>9}{'cpu, net':>10}",
    ]
    for name, row in found.items():
        cells = [_cell(row, "clean", 8, percent=True)]
        cells += [_cell(row, f"{group} found", 12, percent=True) for group in groups]
        cells += [_cell(row, f"{group} at 1 %", 11, percent=True) for group in groups]
        cells += [_cell(row, f"{group} AUC", 11) for group in groups]
        cells += [_cell(row, "minutes", 9), _cell(row, "minutes, cpu and network", 10)]
        lines.append(f"{name:<48}" + "".join(cells))
    return "\n".join(lines)


def _cell(row: Mapping[str, float], key: str, width: int, *, percent: bool = False) -> str:
    if key not in row:
        return f"{'-':>{width}}"
    return f"{100 * row[key]:>{width}.1f}" if percent else f"{row[key]:>{width}.3f}"


def main() -> None:
    """Run and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ablation", description=about)
    parser.add_argument("--seeds", type=int, default=1, help="how many (1)")
    parser.add_argument("--folds", type=int, default=3, help="blocks of time (3)")
    parser.add_argument("--block", type=int, action="append", help="held out, from 0 (1)")
    parser.add_argument("--system", action="append", choices=SYSTEMS, help="only this one (both)")
    arguments = parser.parse_args()
    if not folder().is_dir():
        parser.exit(1, f"there are no real traces under {folder()}; set TRACEAD_DATA\n")
    document: dict[str, object] = report.header("benchmarks.ablation", sys.argv[1:])
    sections = []
    for system in arguments.system or SYSTEMS:
        traffic = read(system)
        found = [
            ablate(traffic, block, LearningSettings(recipe=Recipe(seed=seed)))
            for block in blocks(traffic, arguments.folds)
            if block.number in (arguments.block or [1])
            for seed in range(arguments.seeds)
        ]
        document[system] = mean(found)
        sections.append(text(system, mean(found)))
        print(sections[-1], flush=True)
    report.write(
        report.RESULTS / "ablation",
        "The default detector with one step taken back at a time",
        document,
        [*sections, METHOD],
    )


METHOD = """\
Method: the traces and the day are those of `python -m benchmarks.targets`; one block of time is held out, and one seed taken, unless the
command says more. A variant is the default with one step taken back, everything else as it is; where the step is one of the
network's, new networks are trained for it. Shares are percentages.

at the budget of 1 %: normal traces of the block that are marked as the day comes, and anomalies found in streams of those
  traces, 2 % of them replaced by copies with one anomaly. Structure: replaced, missing, extra, aborted and swapped calls.
at 1 % of clean traces: found where the threshold is set on the block's normal traces, so that variants compare fairly. The
  paper's rules have no threshold to move.
AUC: how well scores tell anomalies from the block's normal traces.
AUC of a minute: how well a minute's marked share at the budget tells fault minutes from normal ones.
"""

if __name__ == "__main__":
    main()
