"""Everything that was measured, as files: tables, figures, a summary in text and one page for people."""

import re
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from typing import Final

from otel_tracead.evaluation import claims, figures, tables
from otel_tracead.evaluation.claims import Cast, Claim, Cost, Verdict, percent
from otel_tracead.evaluation.experiments import INTERVAL_RULE, RANKS, By, Kind, Row, rule_at, rule_of
from otel_tracead.evaluation.tables import NOTHING, Listing, Summary, Table
from otel_tracead.reports import rendering
from otel_tracead.training.paper.cross_validation import Validated

_CHIPS: Final = {Verdict.HELD: "held", Verdict.PARTLY: "partly", Verdict.FAILED: "failed", Verdict.OPEN: ""}
_TIME_RULES: Final = (INTERVAL_RULE, rule_at(0.01))

METHOD: Final = (
    (
        "Structure: the label of one event is replaced by one that is not among the k labels that the model expects there. "
        "That finds the anomaly nearly by construction, so it counts strictly: the clean event must not be flagged either."
    ),
    (
        "Response time: one event takes 2 to 5 times its own time longer. It is found if the squared error of the forecast "
        "leaves the Gaussian 95 % interval of its label's errors in training, or a threshold that flags a fixed share of "
        "clean spans; the latter is the same for all models, so that they can be compared."
    ),
    (
        "The position is drawn among all events but the first, before which there is nothing to forecast it from; the same "
        "for all models of a seed."
    ),
    (
        "The false alarms beside each recall are those of the same rule on the same traces before the injection: of spans "
        "(with the end of the trace, for structure), and of traces with at least one flagged span."
    ),
    (
        "Training and test traces are apart in time. Each seed draws its own traces, weights and injections; where seeds "
        "differ, the least and the most stand in parentheses."
    ),
    (
        "The verdicts are ours: a recall holds only where the same rule flags at most one clean trace in ten, a model is "
        "better only where it is with every seed, and a claim holds in part where that is so for some of its rules. The "
        "seeds share one period of test traffic, so their spread says nothing of another day."
    ),
)
"""How it was measured, in sentences."""


@dataclass(frozen=True, slots=True)
class Study:
    """Everything that was measured, and on what.

    Attributes:
        traffic: what the traces are, for a headline.
        rows: of every model and seed.
        costs: likewise.
        cast: which model plays which part.
        setting: name and value of what one must know to measure it again.
        warnings: why the result is weaker than it looks.
        place: how the traces' length is to be read.
        as_paper: whether as many traces and epochs were given as in the paper.
        validated: what cross-validation found of each width and layer, the chosen one first.
    """

    traffic: str
    rows: tuple[Row, ...]
    costs: tuple[Cost, ...]
    cast: Cast
    setting: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...] = ()
    place: str = "events of the trace"
    as_paper: bool = True
    validated: tuple[Validated, ...] = ()

    @property
    def judged(self) -> list[Claim]:
        """The claims, each beside what was measured."""
        return claims.judge(self.rows, self.costs, self.cast, as_paper=self.as_paper)


@dataclass(frozen=True, slots=True)
class _Drawn:
    """A figure with its table.

    Attributes:
        name: of its files.
        title: for people.
        words: what it shows.
        summaries: what it was drawn from.
        svg: the drawing.
        listings: the same as tables, each with a title.
    """

    name: str
    title: str
    words: str
    summaries: list[Summary]
    svg: str
    listings: tuple[tuple[str, Listing], ...]

    @property
    def inlined(self) -> str:
        """The drawing as a part of a page: with ids of its own, without what belongs to a file."""
        drawing = self.svg[self.svg.index("<svg") :]
        drawing = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", drawing, flags=re.DOTALL)
        return re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{self.name}-", drawing)


def files(study: Study) -> dict[str, str]:
    """Give every file of the output folder, by its path there."""
    summaries = tables.summarize(study.rows)
    judged = study.judged
    drawn = _figures(study, summaries)
    costs, choice = _costs(study.costs), _choice(study.validated)
    out = {f"figures/{one.name}.svg": one.svg for one in drawn}
    out |= {f"tables/{one.name}.csv": tables.table(one.name, one.title, one.summaries).csv() for one in drawn}
    out["tables/rows.csv"] = tables.raw(study.rows).csv()
    out["tables/costs.csv"] = _table("costs", study.costs).csv()
    out["tables/claims.csv"] = _table("claims", judged).csv()
    out["summary.txt"] = _summary(study, judged, drawn, costs, choice)
    out["report.html"] = rendering.render(
        "evaluation.html",
        traffic=study.traffic,
        headline=headline(judged),
        warnings=study.warnings,
        tiles=_tiles(summaries, study.cast),
        claims=judged,
        chips={verdict.value: chip for verdict, chip in _CHIPS.items()},
        figures=drawn,
        costs=costs,
        choice=choice,
        method=METHOD,
        setting=study.setting,
    )
    return out


def headline(judged: Sequence[Claim]) -> str:
    """Say in one sentence how much of the paper held."""
    count = {verdict: sum(claim.verdict is verdict for claim in judged if claim.paper) for verdict in Verdict}
    parts = [f"{number} {verdict.value}" for verdict, number in count.items() if number]
    return f"Of {sum(count.values())} claims of the paper, {', '.join(parts)}."


def _table(name: str, records: Sequence[Claim] | Sequence[Cost]) -> Table:
    columns = tuple(field.name for field in fields(Claim if name == "claims" else Cost))
    return Table(name, name, columns, tuple(astuple(record) for record in records))


def _tiles(summaries: Sequence[Summary], cast: Cast) -> list[tuple[str, str]]:
    def mean(kind: Kind, rule: str, value: str) -> str:
        own = [one for one in summaries if (one.model, one.kind, one.rule) == (cast.multimodal, kind, rule)]
        return next((percent(getattr(one, value).mean) for one in own if one.by is By.ALL), NOTHING)

    return [
        (mean(Kind.STRUCTURE, rule_of(1), "strict"), "of replaced labels found strictly at k = 1"),
        (mean(Kind.STRUCTURE, rule_of(1), "clean_traces"), "of clean traces flagged at k = 1"),
        (mean(Kind.TIME, INTERVAL_RULE, "found"), "of prolonged events found at the 95 % interval"),
        (mean(Kind.TIME, INTERVAL_RULE, "clean_traces"), "of clean traces flagged by that interval"),
        (mean(Kind.TIME, rule_at(0.01), "found"), "of prolonged events found at 1 % of clean spans"),
    ]


def _figures(study: Study, summaries: Sequence[Summary]) -> list[_Drawn]:
    look = figures.looks(list(dict.fromkeys(one.model for one in summaries)))
    labels = [rule_of(k) for k in RANKS]
    compared = (study.cast.multimodal, study.cast.dense)

    def of(
        kind: Kind, by: By, rules: Sequence[str] | None = None, models: Sequence[str] | None = None
    ) -> list[Summary]:
        return [
            one
            for one in summaries
            if one.kind is kind and one.by is by
            if (rules is None or one.rule in rules) and (models is None or one.model in models)
        ]

    def bars(name: str, title: str, words: str, chosen: list[Summary], value: str, what: str) -> _Drawn:
        drawing = figures.by_rule(name, chosen, look, value, what)
        return _Drawn(name, title, words, chosen, drawing, (("", tables.listing(chosen, percent)),))

    def lines(name: str, title: str, words: str, chosen: list[Summary], where: str) -> _Drawn:
        drawing = figures.by_place(name, chosen, look, where)
        false_alarms = "clean_traces" if chosen and chosen[0].by is By.LENGTH else "clean_events"
        named = "clean traces flagged" if false_alarms == "clean_traces" else "clean spans flagged"
        listings = (
            ("found, strictly, in %", tables.across(chosen, "strict", _whole)),
            (f"{named}, in %", tables.across(chosen, false_alarms, _whole)),
        )
        return _Drawn(name, title, words, chosen, drawing, listings)

    structure, time = of(Kind.STRUCTURE, By.ALL), of(Kind.TIME, By.ALL)
    found = [
        bars(
            "figure-5-structure",
            "Figure 5: structure, by model and k",
            "Share of replaced labels that were found, strictly. Whiskers go from the worst to the best seed.",
            structure,
            "strict",
            "anomalies found, strictly",
        ),
        lines(
            "figure-6-structure-by-length",
            "Figure 6: structure, by length",
            f"The same by the number of {study.place}.",
            of(Kind.STRUCTURE, By.LENGTH, labels),
            study.place,
        ),
        lines(
            "figure-7-structure-by-position",
            "Figure 7: structure, by position",
            "The same by the position of the replaced label; 0 is the first event, which nothing foretells.",
            of(Kind.STRUCTURE, By.POSITION, labels),
            "position of the event",
        ),
        bars(
            "response-time",
            "Response time, by model",
            "Share of prolonged events that were found at the paper's interval, and at thresholds that flag the same "
            "share of clean spans whatever the model.",
            time,
            "found",
            "anomalies found",
        ),
        lines(
            "figure-8-time-by-length",
            "Figure 8: response time, by length",
            "The multimodal LSTM against the multimodal dense baseline.",
            of(Kind.TIME, By.LENGTH, _TIME_RULES, compared),
            study.place,
        ),
        lines(
            "figure-9-time-by-position",
            "Figure 9: response time, by position",
            "The same by the position of the prolonged event.",
            of(Kind.TIME, By.POSITION, _TIME_RULES, compared),
            "position of the event",
        ),
        bars(
            "false-alarms",
            "The price: clean traces that are flagged",
            "Share of traces without any anomaly in which at least one span is flagged. Users live by this one.",
            structure + [one for one in time if one.rule in _TIME_RULES],
            "clean_traces",
            "clean traces flagged",
        ),
    ]
    return [one for one in found if one.summaries]


def _whole(share: float) -> str:
    return f"{100 * share:.0f}"


def _costs(costs: Sequence[Cost]) -> Listing:
    models = list(dict.fromkeys(one.model for one in costs))
    return Listing(
        ("model", "training", "one trace alone"),
        tuple(
            (
                model,
                tables.spread(one.training_s for one in costs if one.model == model).words(claims.seconds),
                tables.spread(one.trace_ms for one in costs if one.model == model).words(claims.milliseconds),
            )
            for model in models
        ),
    )


def _choice(validated: Sequence[Validated]) -> Listing:
    """List what cross-validation found, the chosen candidate first."""

    def error(value: float) -> str:
        return f"{value:.4f}"

    return Listing(
        ("join in layer", "width", "next label was the most probable", "squared error of scaled time", "training"),
        tuple(
            (
                one.candidate.join.value,
                str(one.candidate.units),
                tables.spread(one.accuracy.tolist()).words(percent),
                tables.spread(one.squared_error.tolist()).words(error),
                tables.spread(one.seconds.tolist()).words(claims.seconds),
            )
            for one in validated
        ),
    )


def _summary(study: Study, judged: Sequence[Claim], drawn: Sequence[_Drawn], costs: Listing, choice: Listing) -> str:
    """Write everything but the drawings as text."""
    lines = [f"The paper's experiments on {study.traffic}", *(f"{name}: {value}" for name, value in study.setting)]
    lines += [f"method: {' '.join(METHOD)}", ""]
    lines += [f"WARNING: {warning}" for warning in study.warnings]
    lines += [headline(judged), ""]
    for claim in judged:
        lines += [f"{claim.verdict.value.upper()}: {claim.said}", f"    {claim.measured}", f"    {claim.words}"]
    lines += ["", "Costs", "", costs.text()]
    lines += [
        "",
        "Width and layer of the multimodal LSTM, by cross-validation; the first one is used",
        "",
        choice.text(),
    ]
    for one in drawn:
        lines += ["", one.title, one.words]
        for title, listing in one.listings:
            lines += ["", *([title] if title else []), listing.text()]
    return "\n".join(lines) + "\n"
