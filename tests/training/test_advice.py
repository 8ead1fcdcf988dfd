"""What the user is told of traffic that gives a weak model."""

from dataclasses import replace

import numpy as np
import pytest
from tiny_model import shop_traces

from otel_tracead.traces import dictionary
from otel_tracead.traces.encoding import Encoder, Events
from otel_tracead.traces.labels import LabelTemplate
from otel_tracead.training.advice import advice


@pytest.fixture(scope="module")
def events() -> Events:
    return Encoder(LabelTemplate()).encode(shop_traces(seed=31, duration_s=70.0))


def told(events: Events, traces: int | None = None) -> list[str]:
    counts = np.bincount(events.label, minlength=len(events.labels)).tolist()
    known = dictionary.learn(dict(zip(events.labels, counts, strict=True)), max_labels=2000, min_count=5)
    return advice(events, known, traces or events.traces)


def test_good_traffic_needs_no_advice(events) -> None:
    assert told(events) == []


def renamed(events: Events, names: list[str]) -> Events:
    labels = sorted(set(names))
    return replace(events, labels=labels, label=np.array([labels.index(name) for name in names]))


def test_what_is_weak_is_said_one_by_one(events) -> None:
    size = len(events)
    whole = 1000.0 * np.floor(events.duration_us / 4000.0)
    for changed, expected in (
        (renamed(events, ["a"] * size), "All spans have one label"),
        (replace(events, parent=np.full(size, -1)), "No span has a parent"),
        (replace(events, self_us=np.zeros(size), duration_us=np.zeros(size)), "All spans take no time at all"),
        (
            replace(events, self_us=np.full(size, 5e3), duration_us=np.full(size, 5e3)),
            "All spans take the same time, 5 ms",
        ),
        (
            replace(events, self_us=np.minimum(whole, 1000.0) * (whole > 9000), duration_us=whole),
            "Times are whole milliseconds",
        ),
    ):
        assert len(told(changed)) == 1, told(changed)
        assert told(changed)[0].startswith(expected)
    assert told(events, traces=10 * events.traces) == [
        f"{events.traces} of {10 * events.traces} traces were used, a random part (training::max_spans)."
    ]


def test_few_traces_are_said_to_be_few() -> None:
    few = Encoder(LabelTemplate()).encode(shop_traces(seed=32, duration_s=10.0))
    assert [one for one in told(few) if f"{few.traces} traces are few" in one]


def test_whole_milliseconds_alone_are_normal(events) -> None:
    times = (1000.0 * np.ceil(events.self_us / 1000.0), 1000.0 * np.ceil(events.duration_us / 1000.0))
    assert told(replace(events, self_us=times[0], duration_us=times[1])) == []


@pytest.mark.parametrize("each", [1, 30])
def test_labels_that_explode_are_shown_with_a_pattern_that_helps_rare_or_not(events, each) -> None:
    names = [events.labels[one] for one in events.label.tolist()]
    random = np.random.default_rng(0)
    users = ["".join(random.choice(list("abcdefghij"), 8)) + "7x" for _ in range(len(names) // (10 * each))]
    exploding = [
        name if place % 10 else f"cart server GET /user/{users[(place // 10) % len(users)]}/cart 200"
        for place, name in enumerate(names)
    ]
    (said,) = told(renamed(events, exploding))
    assert f"cart server GET /user/*/cart 200 ({len(set(users))} labels, such as " in said
    assert ("are there ids in the names of spans?") in said
    pattern = said.rpartition("replaces them): ")[2].strip("'")
    assert LabelTemplate(patterns=(pattern,)).pattern("GET /user/jjjjjjjj7x/cart") == "GET /user/{id}/cart"
    assert LabelTemplate(patterns=(pattern,)).pattern("GET /users/cart") == "GET /users/cart"


def test_ids_that_no_pattern_reaches_are_told_so(events) -> None:
    names = [events.labels[one] for one in events.label.tolist()]
    pods = [f"pod-{place}x" for place in range(200)]
    exploding = [
        f"{pods[(place // 10) % 200]} server GET" if place % 10 == 0 else name for place, name in enumerate(names)
    ]
    (said,) = told(replace(renamed(events, exploding), services=[*events.services, *pods]))
    assert "pod-* server GET (200 labels" in said
    assert "No pattern reaches these" in said
