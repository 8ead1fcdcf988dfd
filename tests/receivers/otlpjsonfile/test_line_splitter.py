from hypothesis import given
from hypothesis import strategies as st

from otel_tracead.receivers.otlpjsonfile.lines import LineSplitter

PIECES = st.lists(st.binary(max_size=12).map(lambda part: part.replace(b"x", b"\n")), max_size=12)


@given(PIECES, st.integers(1, 8))
def test_lines_do_not_depend_on_how_they_come(pieces: list[bytes], limit: int) -> None:
    splitter = LineSplitter(limit)
    found = [(line.number, line.text) for piece in pieces for line in splitter.feed(piece)]
    *lines, rest = b"".join(pieces).split(b"\n")
    wanted = [
        (number, None if len(text) > limit else text)
        for number, text in enumerate(lines, 1)
        if len(text) > limit or text.strip()
    ]
    assert found == wanted
    assert splitter.rest == (rest if len(rest) <= limit else b"")
    assert len(splitter._rest) <= limit
    assert splitter.number == len(lines) + 1


def test_a_line_whose_beginning_was_not_seen_is_left_out() -> None:
    splitter = LineSplitter(10, whole=False)
    assert [line.text for line in splitter.feed(b"lf a line that is long\nab\n")] == [b"ab"]
    assert LineSplitter(10, whole=False).rest == b""


def test_the_rest_is_taken_once() -> None:
    splitter = LineSplitter(10)
    assert list(splitter.feed(b"abc")) == []
    assert splitter.take_rest() == (1, b"abc")
    assert list(splitter.feed(b"\nd\n")) == [(2, b"d")]
