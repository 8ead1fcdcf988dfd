"""What is read of a span's bytes, against a parse in full."""

from collections.abc import Hashable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from otel_tracead.wire import heads
from otel_tracead.wire.columns import WantedAttributes, read_columns
from otel_tracead.wire.heads import HeadReader
from otel_tracead.wire.joined import join
from otel_tracead.wire.span_bytes import SpanBytes
from otel_tracead.wire.values import text

LONG_KEY = "long." * 60
KEYS = ("http.status_code", "db.system", LONG_KEY, "env", "é")
OTHER = ("http.status_codf", "http.stadus_code", "db.systen", "db.sys", "x", "", "en", "envy", "long." * 59)

values = st.one_of(
    st.builds(lambda v: AnyValue(string_value=v), st.text(max_size=5)),
    st.builds(lambda v: AnyValue(int_value=v), st.integers(-5, 600)),
    st.builds(lambda v: AnyValue(bool_value=v), st.booleans()),
    st.just(AnyValue()),
)
attributes = st.builds(lambda k, v: KeyValue(key=k, value=v), st.sampled_from(KEYS + OTHER), values)
spans = st.builds(
    Span,
    trace_id=st.sampled_from([b"0123456789abcdef"] * 3 + [b"", b"short"]),
    trace_state=st.sampled_from(["", "", "a=b", "a=" + "b" * 150]),
    span_id=st.sampled_from([b"12345678", b"abcdefgh", b"short", b""]),
    parent_span_id=st.sampled_from([b"", b"12345678", b"\0" * 8, b"far too long"]),
    name=st.text(max_size=5) | st.text("ab", min_size=60, max_size=68) | st.text("ab", min_size=120, max_size=140),
    kind=st.integers(0, 5),
    start_time_unix_nano=st.one_of(st.integers(0, 100), st.integers(0, 2**64 - 1)),
    end_time_unix_nano=st.one_of(st.integers(0, 100), st.integers(0, 2**64 - 1)),
    attributes=st.lists(attributes, max_size=4),
    status=st.builds(Status, code=st.integers(0, 2), message=st.sampled_from(["", "no", "long" * 40])),
    events=st.lists(st.builds(Span.Event, name=st.text(max_size=3)), max_size=2),
    dropped_events_count=st.sampled_from([0, 1, 1000]),
    flags=st.sampled_from([0, 257]),
)


class Names:
    def __init__(self) -> None:
        self.given: list[tuple[Hashable, ...]] = []

    def __call__(self, group: Hashable, name: str, kind: int, status: int, wanted: dict[str, str]) -> int:
        self.given.append((group, name, kind, status, tuple(sorted(wanted.items()))))
        return len(self.given) - 1


def wanted(span: Span) -> tuple[tuple[str, str], ...]:
    return tuple(sorted({one.key: text(one.value) for one in span.attributes if one.key in KEYS}.items()))


@given(st.lists(st.tuples(spans, st.sampled_from("ab")), max_size=6))
def test_heads_are_those_of_a_full_parse(given_spans):
    names = Names()
    found = HeadReader(KEYS, names).read(
        [join([span.SerializeToString() for span, _ in given_spans])], [[group for _, group in given_spans]]
    )
    for at, (span, group) in enumerate(given_spans):

        def number(span_id: bytes) -> int:
            return int.from_bytes(span_id, "big") if len(span_id) == 8 else 0

        assert found.span_id[at] == number(span.span_id)
        assert found.parent_id[at] == number(span.parent_span_id)
        assert found.start[at] == min(span.start_time_unix_nano, 1 << 62)
        assert found.end[at] == min(span.end_time_unix_nano, 1 << 62)
        assert found.server[at] == (span.kind in (Span.SPAN_KIND_SERVER, Span.SPAN_KIND_CONSUMER))
        assert names.given[found.code[at]] == (group, span.name, span.kind, span.status.code, wanted(span))


@pytest.mark.parametrize("key", [*KEYS, "a" * 8, "a" * 127, "a" * 128])
@pytest.mark.parametrize("others", [0, 3])
def test_each_wanted_attribute_tells_namings_apart(key, others):
    names = Names()
    reader = HeadReader([*KEYS, key], names)
    ids = {"trace_id": b"t" * 16, "span_id": b"s" * 8}
    before = [KeyValue(key=f"other.{at}", value=AnyValue(string_value="b" * 50 * at)) for at in range(others)]
    read = [
        Span(**ids, name="n", attributes=[*before, KeyValue(key=key, value=AnyValue(string_value=value))])
        for value in ("a", "b", "a" * 200, "a" * 199 + "b", "a")
    ]
    codes = reader.read([join([span.SerializeToString() for span in read])], [["x"] * len(read)]).code.tolist()
    assert codes[0] == codes[-1]
    assert len(set(codes)) == 4


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"trace_state": "a=b"},
        {"parent_span_id": b""},
        {"name": "n" * 127},
        {"kind": 0},
        {"start_time_unix_nano": 0},
        {"flags": 1},
        {"status": Status(code=2, message="no")},
    ],
)
def test_spans_of_the_usual_layout_need_no_parser(change):
    usual = {"trace_id": b"t" * 16, "span_id": b"s" * 8, "parent_span_id": b"p" * 8, "name": "n", "kind": 2}
    times = {"start_time_unix_nano": 1, "end_time_unix_nano": 2, "attributes": [KeyValue(key="k")] * 3}
    span = Span(**{**usual, **times, **change}).SerializeToString()
    assert read_columns(SpanBytes([join([span])]), WantedAttributes(key.encode() for key in KEYS)).read.tolist() == [
        True
    ]


long_or_short = st.text("ab\xff\0", max_size=9) | st.text("ab\xff\0", min_size=50, max_size=150)


@given(st.lists(long_or_short, min_size=2, max_size=8, unique=True), st.integers(0, 70))
def test_different_names_have_different_hashes_wherever_they_stand(names, before):
    together = SpanBytes([join([b"x" * before, *(name.encode() for name in names)])])
    found = together.hashed(np.zeros(len(names) + 1, np.uint64), together.begins, together.ends - together.begins)[1:]
    assert len(set(found.tolist())) == len(names)
    for name, expected in zip(names, found.tolist(), strict=True):
        alone = SpanBytes([join([name.encode()])])
        assert alone.hashed(np.zeros(1, np.uint64), alone.begins, alone.ends).tolist() == [expected]


def test_a_naming_is_asked_for_once():
    names = Names()
    reader = HeadReader(KEYS, names)
    span = Span(name="a", attributes=[KeyValue(key="other", value=AnyValue(int_value=n)) for n in range(3)])
    first = reader.read([join([span.SerializeToString()])] * 3, [["x"]] * 3)
    again = reader.read([join([span.SerializeToString()])], [["x"]])
    assert [*first.code, *again.code] == [0] * 4
    assert reader.read([join([span.SerializeToString()])], [["y"]]).code.tolist() == [1]
    reader.forget()
    assert reader.read([join([span.SerializeToString()])], [["x"]]).code.tolist() == [2]


def test_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(heads, "_MEMO", 3)
    names = Names()
    reader = HeadReader(KEYS, names)
    for number in range(10):
        value = AnyValue(string_value=str(number) * (2000 if number % 2 else 1))
        span = Span(name=f"n{number}", attributes=[KeyValue(key="db.system", value=value)])
        for _ in range(2):
            reader.read([join([span.SerializeToString()])], [["x"]])
        assert len(reader._codes) <= 3
        assert len(reader._texts) <= 3
        assert all(len(one) < 1024 for one in reader._texts)


def test_an_attribute_whose_value_comes_first_is_read():
    value = AnyValue(string_value="redis").SerializeToString()
    pieces = b"\x12" + bytes([len(value)]) + value + b"\x0a\x09db.system"
    span = Span(name="x").SerializeToString() + b"\x4a" + bytes([len(pieces)]) + pieces
    names = Names()
    HeadReader(KEYS, names).read([join([span])], [["x"]])
    assert names.given[0][-1] == (("db.system", "redis"),)


@pytest.mark.parametrize("keys", [(), KEYS])
def test_odd_names_and_no_spans(keys):
    names = Names()
    reader = HeadReader(keys, names)
    assert len(reader.read([], []).code) == 0
    empty = b"\x4a\x00"  # an attribute without a key
    reader.read([join([b"\x2a\x02\xff\xfe" + empty, b""])], [["x", "x"]])
    assert [one[1] for one in names.given] == ["\ufffd\ufffd", ""]
    with pytest.raises(ValueError):
        reader.read([join([b""])], [[]])
