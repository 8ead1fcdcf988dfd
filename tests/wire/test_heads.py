"""What is read of a span's bytes, against a parse in full."""

from collections.abc import Hashable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from otel_tracead.wire import heads
from otel_tracead.wire.heads import HeadReader
from otel_tracead.wire.otlp import text

LONG_KEY = "long." * 60
KEYS = ("http.status_code", "db.system", LONG_KEY)
OTHER = ("http.status_codf", "db.systen", "x", "")

values = st.one_of(
    st.builds(lambda v: AnyValue(string_value=v), st.text(max_size=5)),
    st.builds(lambda v: AnyValue(int_value=v), st.integers(-5, 600)),
    st.builds(lambda v: AnyValue(bool_value=v), st.booleans()),
    st.just(AnyValue()),
)
attributes = st.builds(lambda k, v: KeyValue(key=k, value=v), st.sampled_from(KEYS + OTHER), values)
spans = st.builds(
    Span,
    span_id=st.sampled_from([b"12345678", b"abcdefgh", b"short", b""]),
    parent_span_id=st.sampled_from([b"", b"12345678", b"\0" * 8, b"far too long"]),
    name=st.text(max_size=5),
    kind=st.integers(0, 5),
    start_time_unix_nano=st.one_of(st.integers(0, 100), st.integers(0, 2**64 - 1)),
    end_time_unix_nano=st.one_of(st.integers(0, 100), st.integers(0, 2**64 - 1)),
    attributes=st.lists(attributes, max_size=4),
    status=st.builds(Status, code=st.integers(0, 2)),
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
        [span.SerializeToString() for span, _ in given_spans], [group for _, group in given_spans]
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


def test_a_naming_is_asked_for_once():
    names = Names()
    reader = HeadReader(KEYS, names)
    span = Span(name="a", attributes=[KeyValue(key="other", value=AnyValue(int_value=n)) for n in range(3)])
    first = reader.read([span.SerializeToString()] * 3, ["x"] * 3)
    again = reader.read([span.SerializeToString()], ["x"])
    assert [*first.code, *again.code] == [0] * 4
    assert reader.read([span.SerializeToString()], ["y"]).code.tolist() == [1]
    reader.forget()
    assert reader.read([span.SerializeToString()], ["x"]).code.tolist() == [2]


def test_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(heads, "_MEMO", 3)
    names = Names()
    reader = HeadReader(KEYS, names)
    for number in range(10):
        value = AnyValue(string_value=str(number) * (2000 if number % 2 else 1))
        span = Span(name=f"n{number}", attributes=[KeyValue(key="db.system", value=value)])
        for _ in range(2):
            reader.read([span.SerializeToString()], ["x"])
        assert len(reader._codes) <= 3
        assert len(reader._texts) <= 3
        assert all(len(one) < 1024 for one in reader._texts)


def test_an_attribute_whose_value_comes_first_is_read():
    value = AnyValue(string_value="redis").SerializeToString()
    pieces = b"\x12" + bytes([len(value)]) + value + b"\x0a\x09db.system"
    span = Span(name="x").SerializeToString() + b"\x4a" + bytes([len(pieces)]) + pieces
    names = Names()
    HeadReader(KEYS, names).read([span], ["x"])
    assert names.given[0][-1] == (("db.system", "redis"),)


@pytest.mark.parametrize("keys", [(), KEYS])
def test_odd_names_and_no_spans(keys):
    names = Names()
    reader = HeadReader(keys, names)
    assert len(reader.read([], []).code) == 0
    empty = b"\x4a\x00"  # an attribute without a key
    reader.read([b"\x2a\x02\xff\xfe" + empty, b""], ["x", "x"])
    assert [one[1] for one in names.given] == ["\ufffd\ufffd", ""]
    with pytest.raises(ValueError):
        reader.read([b""], [])
