"""Models to train and to try, some at a time; not in `__main__`, where a spawned process would not find them."""

import multiprocessing
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass

from benchmarks.targets.candidate import Model
from benchmarks.targets.figures import DETECTOR, Figures, measure
from benchmarks.targets.traffic import Block, Traffic
from otel_tracead.traces.encoding import select
from otel_tracead.training.learning import LearningSettings, learn
from otel_tracead.training.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Job:
    """One model to train and to try."""

    traffic: Traffic
    seed: int
    block: Block


def work(job: Job) -> Figures:
    """Train one model and measure it."""
    began = time.monotonic()
    training = select(job.traffic.events, job.block.training)
    learned = learn(training, LearningSettings(recipe=Recipe(seed=job.seed)))
    seconds = time.monotonic() - began
    figures = measure(job.traffic, job.block, Model(learned), job.seed)
    figures.share["training, s"] = {DETECTOR: seconds}
    return figures


def run(jobs: list[Job], workers: int) -> Iterator[tuple[Job, Figures]]:
    """Run *jobs*, some at a time; each result as it comes."""
    if workers == 1:
        for job in jobs:
            yield job, work(job)
        return
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        running = {pool.submit(work, job): job for job in jobs}
        for done in as_completed(running):
            yield running[done], done.result()
