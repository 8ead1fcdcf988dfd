"""The whole experiment: every model of the paper and its references, with several seeds, tried on traces they never saw."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import numpy as np

from otel_tracead.errors import InputError
from otel_tracead.evaluation.claims import Cast, Cost
from otel_tracead.evaluation.experiments import Row, measure
from otel_tracead.evaluation.references import NGram, TimeQuantile
from otel_tracead.evaluation.report import Study
from otel_tracead.evaluation.selection import divide, draw
from otel_tracead.evaluation.sequence_models import SequenceModel
from otel_tracead.traces.dictionary import RARE_ID
from otel_tracead.traces.encoding import Events
from otel_tracead.traces.windows import EACH, Windows
from otel_tracead.training.paper.architecture import Join
from otel_tracead.training.paper.cross_validation import Candidate, cross_validate
from otel_tracead.training.paper.models import DESIGNS, Design, train_model
from otel_tracead.training.paper.recipe import WindowRecipe
from otel_tracead.training.side_by_side import side_by_side

Progress = Callable[[str, float], None]

CAST: Final = Cast(
    multimodal="multimodal LSTM",
    structure="single LSTM, structure",
    dense="multimodal dense",
    labels_reference="4-gram",
    times_reference="quantile of the label",
)
_TIMED: Final = 50  # traces that are judged one by one


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How thorough it is to be.

    Attributes:
        name: for the report.
        seeds: repetitions, each with its own traces, weights and injections.
        training: traces of each length to learn from.
        test: traces of each length to be tried on.
        recipe: how to fit.
        candidates: widths and layers to join in, of which cross-validation chooses.
        choosing: how to fit in cross-validation.
        folds: of cross-validation.
        as_paper: whether traces and epochs are the paper's.
    """

    name: str
    seeds: int
    training: int
    test: int
    recipe: WindowRecipe
    candidates: tuple[Candidate, ...]
    choosing: WindowRecipe
    folds: int
    as_paper: bool = False


FULL: Final = Plan(
    name="as in the paper",
    seeds=3,
    training=EACH,
    test=EACH,
    recipe=WindowRecipe(),
    candidates=tuple(Candidate(units, join) for units in (32, 64) for join in Join),
    choosing=WindowRecipe(epochs=60),
    folds=3,
    as_paper=True,
)
FAST: Final = Plan(
    name="fast: fewer traces and epochs, smaller batches, a higher learning rate",
    seeds=3,
    training=120,
    test=100,
    recipe=WindowRecipe(epochs=20, batch=32, learning_rate=4e-3, patience=6),
    candidates=(Candidate(16, Join.SECOND), *(Candidate(32, join) for join in Join)),
    choosing=WindowRecipe(epochs=12, batch=32, learning_rate=4e-3),
    folds=2,
)


@dataclass(frozen=True, slots=True)
class _Job:
    """One model of one seed; without a design the references."""

    design: Design | None
    seed: int
    training: Windows
    test: Windows
    labels: int
    recipe: WindowRecipe
    chosen: Candidate


@dataclass(frozen=True, slots=True)
class _Done:
    rows: tuple[Row, ...]
    costs: tuple[Cost, ...]


def run(events: Events, plan: Plan, traffic: str, provenance: Iterable[tuple[str, str]], progress: Progress) -> Study:
    """Train and try every model.

    Args:
        events: normal traces, in the paper's order.
        plan: how thorough.
        traffic: what the traces are, for a headline.
        provenance: name and value of where and by what it is measured.
        progress: told what is done and its share.

    Raises:
        InputError: nothing can be learned from the traces.
    """
    material = divide(events)
    drawn = [
        draw(material, np.random.default_rng(seed), training=plan.training, test=plan.test)
        for seed in range(plan.seeds)
    ]
    validated = cross_validate(
        drawn[0][0],
        len(material.dictionary),
        plan.candidates,
        plan.choosing,
        folds=plan.folds,
        progress=lambda share: progress("choosing width and layer", share),
        workers=None,
    )
    jobs = _jobs(drawn, len(material.dictionary), plan, validated[0].candidate)
    done = side_by_side(
        [partial(_work, job) for job in jobs], lambda share: progress("fitting and trying the models", share)
    )
    rows = [row for one in done for row in one.rows]
    if not rows:
        raise InputError(
            "--input: no anomaly could be injected into these traces: every label is expected and takes 0 ms"
        )
    costs = [cost for one in done for cost in one.costs]
    names = [design.name for design in DESIGNS]
    for records in (rows, costs):
        records.sort(key=lambda one: names.index(one.model) if one.model in names else len(names))
    recipe = plan.recipe
    return Study(
        traffic=traffic,
        rows=tuple(rows),
        costs=tuple(costs),
        cast=CAST,
        setting=(
            *provenance,
            *material.words,
            ("setting", plan.name),
            (
                "of each length",
                f"{plan.training} traces to learn from, {plan.test} to be tried on, where there are as many",
            ),
            ("seeds", str(plan.seeds)),
            (
                "fitting",
                (
                    f"batch {recipe.batch}, learning rate {recipe.learning_rate:g}, at most {recipe.epochs} epochs, ended after "
                    f"{recipe.patience} without a better loss on {recipe.held_out:.0%} of the training traces"
                ),
            ),
            ("layers", f"LSTM layers of {validated[0].candidate.units}, dense layers of 50 and 20"),
        ),
        warnings=material.warnings,
        place="events of the trace" if material.whole else "events of the window",
        as_paper=plan.as_paper,
        validated=tuple(validated),
    )


def _jobs(drawn: Sequence[tuple[Windows, Windows]], labels: int, plan: Plan, chosen: Candidate) -> Iterable[_Job]:
    """Give the jobs of all seeds, those that take longest first."""
    slowest_first = sorted(DESIGNS, key=lambda design: (design.layers.value != "lstm", design.name))
    for design in (*slowest_first, None):
        for seed, (training, test) in enumerate(drawn):
            yield _Job(design, seed, training, test, labels, plan.recipe, chosen)


def _work(job: _Job, progress: Callable[[float], None]) -> _Done:
    """Train the models of one job, and try them."""
    known = np.unique(job.training.label)
    models: list[tuple[SequenceModel, float]] = []
    if job.design is None:
        for reference in (NGram, TimeQuantile):
            started = time.perf_counter()
            models.append((reference(job.training, job.labels), time.perf_counter() - started))
    else:
        model = train_model(
            job.design.name,
            job.training,
            job.design.architecture(job.labels, job.training.label.shape[1], job.chosen.units, job.chosen.join),
            replace(job.recipe, seed=job.seed),
            progress,
        )
        models.append((model, model.seconds))
    rows: list[Row] = []
    costs: list[Cost] = []
    for one, seconds in models:
        rows += measure(one, job.test, known[known > RARE_ID], job.seed)
        costs.append(Cost(one.name, job.seed, seconds, _trace_ms(one, job.test)))
    return _Done(tuple(rows), tuple(costs))


def _trace_ms(model: SequenceModel, windows: Windows) -> float:
    """Give the median of the milliseconds that one trace alone takes."""
    taken = []
    for row in np.linspace(0, len(windows) - 1, min(_TIMED, len(windows))).astype(np.int64):
        one = windows.take(np.array([row]))
        started = time.perf_counter()
        model.forecast(one)
        taken.append(1e3 * (time.perf_counter() - started))
    return float(np.median(taken))
