"""Run everything and write docs/results/targets.{txt,json}: see `python -m benchmarks.targets --help`."""

import argparse
import sys

from benchmarks import report
from benchmarks.targets import __doc__ as about
from benchmarks.targets import table
from benchmarks.targets.figures import Figures
from benchmarks.targets.jobs import Job, run
from benchmarks.targets.traffic import SYSTEMS, blocks, folder, read


def main() -> None:
    """Run and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.targets", description=about)
    parser.add_argument("--seeds", type=int, default=3, help="networks and injections of each block (3)")
    parser.add_argument("--folds", type=int, default=3, help="blocks of time (3)")
    parser.add_argument("--jobs", type=int, default=1, help="models at a time; each is trained on two cores (1)")
    parser.add_argument("--system", action="append", choices=SYSTEMS, help="only this one (both)")
    arguments = parser.parse_args()
    if not folder().is_dir():
        parser.exit(1, f"there are no real traces under {folder()}; set TRACEAD_DATA\n")
    document = report.header("benchmarks.targets", sys.argv[1:])
    sections = []
    for system in arguments.system or SYSTEMS:
        traffic = read(system)
        held_out = list(blocks(traffic, arguments.folds))
        jobs = [Job(traffic, seed, block) for seed in range(arguments.seeds) for block in held_out]
        figures: list[list[Figures]] = [[] for _ in range(arguments.seeds)]
        for job, found in run(jobs, arguments.jobs):
            figures[job.seed].append(found)
            print(system, "seed", job.seed, "block", job.block.number, flush=True)
        lines = table.lines(system, figures)
        sections.append(table.text(system, lines))
        document[system] = table.document(lines)
        print(sections[-1], flush=True)
    title = "The default model on real traces with real faults, beside plain rules on the same traces"
    report.write(report.RESULTS / "targets", title, document, [*sections, METHOD])


METHOD = """\
Method: the normal minutes of a day are cut into blocks of time. For each block and seed a model is trained, with the default
settings, on the normal traces of the other blocks; nothing of the block is seen in training. Traces are cut by the time of
the injection, as the data's README says. Means are over blocks, then over seeds; min - max is over seeds, which draw the
network's start and the injections. Another day can only be measured where there is one: a block of time stands for it.

clean traces, minutes: the day's traces in the order of time, at the default budget (1 %). The block's normal traces count,
  and all faults; what the model was trained on goes by. A minute's marked share counts from 10 traces on; the block's
  normal minutes are told from all fault minutes of the day.
found: streams of the block's normal traces, 2 % of them replaced by copies with one anomaly of any kind.
located: of found traces, a span that is rightly to blame is marked; structure and stalls.
structure: at how many places the label that came is among the k most probable ones, the first event left out. There the
  strict injection is found: a label outside the top k is flagged by the rule itself, and the normal trace is not.
the paper's response times: a random event takes 2 to 5 times its response time longer; found if its own surprise is above
  that share of the normal events of the block.
rules: learned from the same training traces. quantile: own work or response time of an event, in ratio to the median, the
  99th percentile or the longest of its label, or its rank among them; the best of these eight, row by row, in hindsight.
  4-gram: with back-off. Both mark as many normal traces of the same streams as the detector does. unseen pair (of neighbouring
  siblings under that caller), unseen 4-gram and unseen tree (all labels and callers of a trace; no rule of structure can find
  what it does not) have no threshold: see how many clean traces they mark. A rule is called
  better only if it marks no more normal traces than the detector.
CPU a trace: scoring in batches of 8192 spans, without finding the words for a verdict, on one core.
"""

if __name__ == "__main__":
    main()
