from hostile import HOSTILE, page_text

from otel_tracead.demonstration.outcome import judge
from otel_tracead.generator import FAULT_KINDS, AffectedTrace, Truth, standard_faults
from otel_tracead.reports.annotated import AnnotatedSpan, AnnotatedTrace, Mark
from otel_tracead.reports.demo import WORDS, render, telling

START = 10**18
FAULTS = standard_faults(90.0, 1)
SLOW = Mark(type="response_time", level="high", score=4.0, expected_ms=10.0, upper_ms=20.0)


def trace(number: int, at_s: float, *, name: str = "GET /", anomalous: bool = True, score: float = 4.0, spans: int = 2):
    start = START + int(at_s * 1e9)
    shared = {"service": name, "start_unix_nano": start, "error": False}
    rows = (
        AnnotatedSpan(span_id=b"1", name=name, duration_ms=80, depth=0, mark=None, **shared),
        AnnotatedSpan(span_id=b"2", name=name, duration_ms=70, depth=1, mark=SLOW, **shared),
    )
    return AnnotatedTrace(
        trace_id=number.to_bytes(16, "big"),
        start_unix_nano=start,
        span_count=spans,
        anomalous=anomalous,
        score=score,
        level="high" if anomalous else "",
        spans=rows if anomalous else (),
    )


def outcome(traces, hit: dict[int, int]):
    truth = Truth(START, FAULTS, ())
    truth.traces = [
        AffectedTrace(number.to_bytes(16, "big"), fault, FAULTS[fault].kind, FAULTS[fault].service, START, [b"2"])
        for number, fault in hit.items()
    ]
    return judge(traces, truth)


def test_the_page_says_what_was_found_and_what_not():
    hit = {number: number % 9 for number in range(27)}
    traces = [trace(n, FAULTS[n % 9].start_s + 0.1, anomalous=n % 9 != 3) for n in hit]
    traces += [trace(100 + n, n, anomalous=n == 5) for n in range(80)]
    page = render(outcome(traces, hit), model="shop 1", duration_s=90, notes=["made for a test"])
    text = page_text(page)
    for what in (
        "8 of 9 injected faults found in 1.5 minutes",
        "107 traces, 214 spans, judged by the model shop 1",
        "89 % of the traces that a fault changed",
        "1.2 % of the traces that no fault touched",
        "took 70 ms, expected 10 ms and at most 20 ms: 7.0 times as long",
        "False alarm: no fault touched this trace, and none was on",
        "made for a test",
        *(WORDS[kind] for kind in FAULT_KINDS),
    ):
        assert what in text, what
    assert page.count('<section class="trace">') == 8 * 2 + 1


def test_the_most_telling_traces_are_chosen():
    traces = [
        trace(1, 1, score=9.0, spans=100),
        trace(2, 1, score=3.0),
        trace(3, 1, score=5.0),
        trace(4, 1, score=4.0),
        trace(5, 1, score=8.0),
        trace(6, 1, score=2.0, anomalous=False),
    ]
    chosen = [int.from_bytes(one.trace.trace_id, "big") for one, _ in telling(outcome(traces, {1: 0, 2: 0, 3: 0}))]
    assert chosen == [3, 2, 5, 4]


def test_nothing_found_is_a_page_too():
    assert "No trace was marked" in page_text(render(outcome([], {}), model="", duration_s=90))


def test_hostile_names_are_only_text():
    page = render(outcome([trace(1, 1, name=HOSTILE)], {1: 0}), model=HOSTILE, duration_s=90, notes=[HOSTILE])
    assert page_text(page).count("<script>alert(1)</script>") >= 4
