from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from otel_tracead.reports.annotated import AnnotatedSpan, AnnotatedTrace, Mark
from otel_tracead.reports.waterfall import RowKind, findings, length_ms, rows

SLOW = Mark(type="response_time", level="low", score=2.5, expected_ms=10.0, upper_ms=20.0)
STRUCTURAL = Mark(type="structural", level="high", score=4.0, rank=1, probability=0.0, expected=("a", "!0"))
START = 10**18


def span(number: int, depth: int = 0, at_ms: float = 0, ms: float = 10, mark: Mark | None = None, **more: object):
    return AnnotatedSpan(
        **{
            "span_id": number.to_bytes(8, "big"),
            "service": "shop",
            "name": f"operation {number}",
            "start_unix_nano": START + int(at_ms * 1e6),
            "duration_ms": ms,
            "depth": depth,
            "error": False,
            "mark": mark,
        }
        | more
    )


def trace(*spans: AnnotatedSpan, missing: tuple[str, ...] = ()) -> AnnotatedTrace:
    return AnnotatedTrace(
        trace_id=bytes(16), start_unix_nano=START, span_count=len(spans), anomalous=True, missing=missing, spans=spans
    )


def test_a_slow_span_says_what_where_and_how_sure():
    (found,) = findings(trace(span(1, ms=75, mark=SLOW)))
    assert found.where == "shop · operation 1"
    assert found.what == "took 75 ms, expected 10 ms and at most 20 ms: 7.5 times as long"
    assert found.sure == "response time, low: score 2.5, about 1 in 320 normal traces looks as odd"


def test_words_for_structure():
    def what(mark: Mark, missing: tuple[str, ...] = (), status: str = "") -> str:
        return findings(trace(span(1, mark=mark, status=status), missing=missing))[0].what

    assert what(STRUCTURAL) == "this was never seen here; expected was a or the end of the trace"
    assert what(STRUCTURAL, status="500").startswith("this, with the status 500, was never seen here")
    assert what(replace(STRUCTURAL, probability=0.02, expected=())) == "this comes here 2.0 % of the time"
    assert what(STRUCTURAL, ("a", "b")) == "here a call is missing: a, b"
    assert what(replace(SLOW, expected_ms=None)) == "took 10 ms"
    assert what(replace(SLOW, upper_ms=None)) == "took 10 ms, expected 10 ms"
    both = replace(STRUCTURAL, type="both", expected_ms=2.0, upper_ms=3.0)
    assert what(both).split("; ")[1] == "this was never seen here"


def test_the_surest_finding_comes_first():
    found = findings(trace(span(1, mark=SLOW), span(2, mark=STRUCTURAL)))
    assert [one.where for one in found] == ["shop · operation 2", "shop · operation 1"]


def test_bars_stand_where_the_time_passed():
    root, child = rows(trace(span(1, ms=100), span(2, depth=1, at_ms=25, ms=50, mark=SLOW)))
    assert (root.kind, root.left, root.width, root.indent, root.expected, root.upper) == ("span", 0, 100, 0, None, None)
    assert (child.kind, child.left, child.width, child.expected, child.upper) == ("marked", 25, 50, 10, 45)
    assert child.indent > 0
    assert length_ms(trace(span(1, ms=100), span(2, at_ms=80, ms=50))) == 130


def test_a_missing_call_has_a_row_under_its_caller():
    found = rows(trace(span(1), span(2, 1, mark=STRUCTURAL), span(3, 1), missing=("a", "elsewhere")))
    assert [row.kind for row in found] == ["span", "marked", "ghost", "ghost", "span"]
    assert found[2].text == "a"
    assert found[2].indent > found[1].indent


def test_missing_calls_go_to_the_span_that_expected_them():
    other = replace(STRUCTURAL, expected=("b",))
    found = rows(trace(span(1, mark=STRUCTURAL), span(2, 1, mark=other), missing=("b", "a")))
    assert [(row.kind.value, row.text) for row in found] == [
        ("marked", "operation 1"),
        ("ghost", "a"),
        ("marked", "operation 2"),
        ("ghost", "b"),
    ]


def test_of_a_long_trace_what_matters_is_shown():
    spans = [span(0), span(1, 1), *(span(n, 2) for n in range(2, 100))]
    spans[50] = span(50, 2, mark=SLOW)
    spans[90] = span(90, 2, error=True)
    found = rows(trace(*spans))
    texts = [row.text for row in found]
    assert texts[:2] == ["operation 0", "operation 1"]
    assert texts[3:8] == [f"operation {n}" for n in range(48, 53)]
    assert "operation 90" in texts
    assert sum(row.kind is RowKind.GAP for row in found) == 3


def test_a_single_span_left_out_is_one_span():
    spans = [span(0), *(span(n, 1) for n in range(1, 40))]
    spans[4] = span(4, 1, mark=SLOW)
    assert rows(trace(*spans))[1].text == "⋯ 1 more span, not marked"


def test_nothing_is_nothing():
    assert rows(trace()) == []
    assert findings(trace()) == []
    assert length_ms(trace()) == 0


@given(
    st.lists(
        st.tuples(
            st.integers(0, 50),
            st.floats(-1e7, 1e7),
            st.floats(0, 1e9),
            st.sampled_from([None, SLOW, STRUCTURAL]),
            st.booleans(),
        ),
        min_size=1,
        max_size=60,
    )
)
def test_every_row_fits_and_nothing_gets_lost(given_spans):
    spans = [span(n, d, at, ms, mark, error=bad) for n, (d, at, ms, mark, bad) in enumerate(given_spans)]
    found = rows(trace(*spans, missing=("a",)))
    for row in found:
        assert 0 <= row.left <= 100
        assert 0 <= row.width <= 100
        assert row.upper is None or 0 <= row.upper <= 100
    shown = sum(row.kind in (RowKind.SPAN, RowKind.MARKED) for row in found)
    left_out = sum(int(row.text.split()[1]) for row in found if row.kind is RowKind.GAP)
    assert shown + left_out == len(spans)
    assert sum(row.kind is RowKind.MARKED for row in found) == sum(one.mark is not None for one in spans)
