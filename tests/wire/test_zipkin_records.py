"""Zipkin v2 lists by typed records: whatever is sent, what comes out is what the plain reader gives."""

import json

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from otel_tracead.errors import InvalidRequest
from otel_tracead.wire import _zipkin_records, zipkin
from otel_tracead.wire.otlp import Envelopes

IDS = {"traceId": "463ac35c9f6413ad48485a3953bb6124", "id": "a2fb4a1d1a96d312"}
USUAL = {
    **IDS,
    "parentId": "0020000000000001",
    "kind": "SERVER",
    "name": "get /api",
    "timestamp": 1472470996199000,
    "duration": 207000,
    "localEndpoint": {"serviceName": "frontend", "ipv4": "192.168.99.1", "port": 3306},
    "remoteEndpoint": {"serviceName": "backend", "port": 80},
    "tags": {"http.path": "/api", "host.name": "here", "otel.scope.name": "a", "error": "true"},
    "annotations": [{"timestamp": 1472470996238000, "value": "ws"}],
    "shared": True,
}

_text = st.sampled_from(["", "a", "GET /x", "é☃", 'q"u\\o', "tags", '": ', "tags", "x" * 600])
_id = st.sampled_from([*IDS.values(), "0" * 16, "0" * 32, "1", "ABCDEF0123456789", "", "g" * 16, "a" * 17, "é" * 16, 5])
_number = st.sampled_from([0, 1, 1472470996199000, -1, 1 << 62, 1 << 64, 1.0, 1.5, "12", "x", True, None])
_scalar = st.one_of(st.none(), st.booleans(), _number, _text)
_value = st.recursive(_scalar, lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(_text, inner)))
_endpoint = st.dictionaries(st.sampled_from(["serviceName", "ipv4", "ipv6", "port", "zone"]), _scalar | _value)
_tags = st.dictionaries(
    st.sampled_from(["http.path", "error", "host.name", "otel.scope.name", "span.kind", "peer.service", "tags", "é"]),
    _text | _number,
)
_annotation = st.dictionaries(st.sampled_from(["timestamp", "value", "endpoint", "x"]), _number | _text | _value)
_FIELDS = {
    "traceId": _id,
    "id": _id,
    "parentId": _id,
    "kind": st.sampled_from(["CLIENT", "SERVER", "server", None, 3]),
    "name": _text | _value,
    "timestamp": _number,
    "duration": _number,
    "localEndpoint": _endpoint | _value,
    "remoteEndpoint": _endpoint | _value,
    "tags": _tags | _value,
    "annotations": st.lists(_annotation, max_size=2) | _value,
    "shared": _scalar,
    "debug": _scalar,
    "unheardOf": _value,
}
# Mostly usual: of a span with many odd fields only the first counts.
_spans = st.lists(
    st.builds(
        lambda base, odd: {**base, **odd},
        st.sampled_from([USUAL, IDS, {**IDS, "tags": {"a": "b"}}]),
        st.one_of(*(st.fixed_dictionaries({key: value}) for key, value in _FIELDS.items())),
    ),
    max_size=4,
)


def _read(body, *, parse_string_tags=False):
    """What becomes of *body*: its spans by whose they are, or what its sender is told."""
    try:
        batch = zipkin.decode_spans(body, Envelopes(), parse_string_tags=parse_string_tags)
    except InvalidRequest as error:
        return str(error)
    groups = {}
    for envelope, spans in batch.groups:
        found = groups.setdefault((envelope.resource, envelope.scope), [])
        # One space between members goes where a list is printed anew and stays where it is cut out.
        found += [(bytes(span), span.origin.replace(b', "', b',"')) for span in spans]
    return list(groups.items())


def _plain(body, **options):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_zipkin_records, "read", lambda *_, **__: None)
        return _read(body, **options)


_prints = st.sampled_from([{}, {"separators": (",", ":")}, {"ensure_ascii": False, "indent": 1}])


def _without_originals(body):
    """As `_read`, of spans that do not keep the form they came in."""
    try:
        batch = zipkin.decode_spans(body, Envelopes(), originals=False)
    except InvalidRequest as error:
        return str(error)
    assert all(type(span) is bytes for _, span in batch)
    return [((envelope.resource, envelope.scope), spans) for envelope, spans in batch.groups]


def _translations(read):
    return read if isinstance(read, str) else [(whose, [span for span, _ in spans]) for whose, spans in read]


@given(_spans, _prints)
@settings(max_examples=100, deadline=None, derandomize=True)
def test_is_the_plain_reader_whatever_a_span_holds(spans, printed):
    body = json.dumps(spans, **printed).encode()
    assert _read(body) == _plain(body)
    assert _read(body, parse_string_tags=True) == _plain(body, parse_string_tags=True)
    assert _without_originals(body) == _translations(_read(body))


_BODY = orjson.dumps([USUAL, {**USUAL, "name": "é"}])


@given(st.integers(0, len(_BODY)), st.integers(0, 3), st.sampled_from(["", '"', ",", "{", "\x01", "\\", "0", "e", " "]))
@example(at=2, cut=0, put='"tags":{"x":"y"},')
@example(at=2, cut=0, put='"\\u0074ags":{"x":"y"},')
@example(at=2, cut=0, put='"localEndpoint":"\udcff",')
@settings(max_examples=100, deadline=None, derandomize=True)
def test_is_the_plain_reader_whatever_is_broken(at, cut, put):
    body = _BODY[:at] + put.encode(errors="surrogateescape") + _BODY[at + cut :]
    assert _read(body) == _plain(body)
    assert _without_originals(body) == _translations(_read(body))


@pytest.mark.parametrize("body", [_BODY, json.dumps([USUAL] * 3).encode(), b"[]", b" [ ] "])
def test_takes_what_tracers_write(body):
    for originals in (True, False):
        assert _zipkin_records.read(body, parse_string_tags=False, originals=originals) is not None


@pytest.mark.parametrize("deep", [{"localEndpoint": 300}, {"annotations": 300}, {"localEndpoint": 1200}])
def test_deep_nesting_is_refused_as_ever(deep):
    [(key, levels)] = deep.items()
    inner = b"[" * levels + b"]" * levels
    value = b'{"x":%s}' % inner if key == "localEndpoint" else b'[{"timestamp":1,"value":"a","x":%s}]' % inner
    body = orjson.dumps([IDS])[:-2] + b',"%s":%s}]' % (key.encode(), value)
    assert isinstance(_plain(body), str)
    assert _read(body) == _plain(body)


def test_what_is_remembered_is_bounded(monkeypatch):
    monkeypatch.setattr(_zipkin_records, "_known", {})
    monkeypatch.setattr(_zipkin_records, "_REMEMBERED", 3)

    def remembered(**odd):
        assert _read(orjson.dumps([{**USUAL, **odd}])) == _plain(orjson.dumps([{**USUAL, **odd}]))
        return len(_zipkin_records._known)

    assert remembered(tags={"long": "x" * 5000}) == remembered(name="x" * 5000) == 0
    assert [remembered(name=name) for name in ("a", "b", "c", "c", "d")] == [1, 2, 3, 3, 1]


TWICE = {
    "an id that is none, and one that is": (b'"id":', b'"id":"no","id":'),
    "with a space that hides it": (b'"id":', b'"id":"no","id" :'),
    "a kind": (b'"kind":', b'"kind":"none","kind":'),
    "a time": (b'"timestamp":1472470996199000', b'"timestamp":"no","timestamp":1472470996199000'),
    "in an endpoint": (b'"port":3306', b'"port":"no","port":3306'),
    "in an annotation": (b'"value":"ws"', b'"value":{},"value":"ws"'),
    "in an annotation, beside what is like a key": (b'"value":"ws"', b'"value":{},"value":"ws","k\\\\":1'),
    "a tag": (b'"error":"true"', b'"error":{},"error":"true"'),
}


@pytest.mark.parametrize("name", TWICE)
def test_of_a_key_that_stands_twice_only_what_was_read_goes_on(name):
    """A Zipkin server looks at both, and would refuse everything that goes on together with this."""
    before, after = TWICE[name]
    body = _BODY.replace(before, after, 1)
    assert body != _BODY
    assert _read(body) == _plain(body)
    [*_, (_, spans)] = _read(body)
    sent = orjson.loads(spans[0][1])
    sent["annotations"][0].pop("k\\", None)
    assert sent == USUAL


@pytest.mark.parametrize("tags", [b'"tags":"1"', b'"tags":[]', b'"tags":5'])
def test_tags_that_are_none_do_not_hide_others(tags):
    body = _BODY.replace(b'"tags":', tags + b',"tags":', 1)
    assert "[0].tags: expected an object" in _read(body)
    assert _read(body) == _plain(body)


def test_an_annotation_that_is_null_is_refused():
    body = orjson.dumps([{**USUAL, "annotations": [None]}])
    assert "annotations[0]: expected an object" in _read(body)
