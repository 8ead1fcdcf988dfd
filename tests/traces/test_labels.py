"""What a span is called."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_tracead.traces.labels import (
    CALLEE,
    LONGEST,
    PAPER_TEMPLATE,
    LabelTemplate,
    status_text,
    stem,
    with_callee,
)
from otel_tracead.wire.batch import Envelope

CART = Envelope(b"", b"", {"service.name": "cart", "host.ip": "10.0.0.7"})


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("GET /cart", "GET /cart"),
        ("GET /cart/12345", "GET /cart/{id}"),
        ("GET /cart/12345/items/7", "GET /cart/{id}/items/{id}"),
        ("/v2/a16d0cc4f0b94b0ea2b9a3a1f2f0c1de/servers", "/v2/{id}/servers"),
        ("/u/123e4567-e89b-12d3-a456-426614174000?x=1", "/u/{id}?x={id}"),
        ("GET http://10.1.2.3:8080/x", "GET http://{id}/x"),
        ("oteldemo.CartService/AddItem", "oteldemo.CartService/AddItem"),
        ("HTTP/1.1 GET", "HTTP/1.1 GET"),
        ("s3 v2 utf8 base64", "s3 v2 utf8 base64"),
        ("job-42 lock:17 worker_3 #9", "job-{id} lock:{id} worker_{id} #{id}"),
        ("deadbeef cafebabe", "deadbeef cafebabe"),
        ("deadbeef1 SELECT", "{id} SELECT"),
        ("accessed abacadabra", "accessed abacadabra"),
        ("", ""),
    ],
)
def test_parts_of_a_name_that_are_ids(name, pattern):
    assert LabelTemplate().pattern(name) == pattern


@given(st.text(max_size=60))
def test_a_pattern_is_its_own_pattern(name):
    template = LabelTemplate()
    once = template.pattern(name)
    assert template.pattern(once) == once


@pytest.mark.parametrize(
    ("status", "attributes", "shown"),
    [
        (0, {}, ""),
        (1, {}, ""),
        (2, {}, "ERROR"),
        (0, {"http.response.status_code": "503"}, "503"),
        (2, {"http.status_code": "404"}, "404"),
        (0, {"http.status_code": "404", "http.response.status_code": "200"}, "200"),
        (0, {"http.response.status_code": ""}, ""),
        (0, {"rpc.grpc.status_code": "0"}, ""),
        (2, {"rpc.grpc.status_code": "0"}, "ERROR"),
        (2, {"rpc.grpc.status_code": "14"}, "grpc:14"),
        (0, {"rpc.response.status_code": "OK"}, ""),
        (2, {"rpc.response.status_code": "UNAVAILABLE"}, "grpc:UNAVAILABLE"),
    ],
)
def test_statuses(status, attributes, shown):
    assert status_text(status, attributes) == shown


def test_the_default_template():
    template = LabelTemplate()
    assert (
        template.label(CART, "GET /cart/77", 2, 0, {"http.response.status_code": "200"})
        == "cart server GET /cart/{id} 200"
    )
    assert template.label(CART, "work", 1, 2, {}) == "cart work ERROR"
    assert template.label(CART, "work", 99, 0, {}) == "cart work"
    assert template.label(CART, "work", -1, 0, {}) == "cart work"
    assert [template.label(CART, "", kind, 0, {}) for kind in range(6)] == [
        "cart", "cart", "cart server", "cart client", "cart producer", "cart consumer",
    ]  # fmt: skip
    assert template.attribute_keys == {
        "http.response.status_code", "http.status_code", "rpc.grpc.status_code", "rpc.response.status_code",
    }  # fmt: skip


def test_the_papers_template():
    template = LabelTemplate(PAPER_TEMPLATE)
    assert template.label(CART, "/v2/123/x", 2, 0, {"http.status_code": "200"}) == "200 /v2/{id}/x 10.0.0.7"
    nowhere = Envelope(CART.resource, CART.scope, {"service.name": "cart"})
    assert template.label(nowhere, "/v2/123/x", 2, 0, {}) == "/v2/{id}/x cart"


def test_the_first_of_several_fields_that_a_span_has():
    template = LabelTemplate("{attribute.a|resource.none|attribute.b|service} {name}")
    assert template.attribute_keys == {"a", "b"}
    assert template.label(CART, "x", 0, 0, {"a": "1", "b": "2"}) == "1 x"
    assert template.label(CART, "x", 0, 0, {"a": "", "b": "2"}) == "2 x"
    assert template.label(CART, "x", 0, 0, {}) == "cart x"
    with pytest.raises(ValueError, match=r"\{nmae\}"):
        LabelTemplate("{service|nmae}")


def test_attributes_and_resources():
    template = LabelTemplate("{attribute.db.system} on {resource.host.ip} {resource.none}", callee=False)
    assert template.attribute_keys == {"db.system"}
    assert template.label(CART, "x", 0, 0, {"db.system": "redis"}) == "redis on 10.0.0.7"
    assert template.label(CART, "x", 0, 0, {}) == "on 10.0.0.7"


def test_what_is_in_braces_in_a_name_is_no_field():
    assert LabelTemplate("{name}").label(CART, "{service} {kind}", 2, 0, {}) == "{service} {kind}"


def test_a_label_has_an_end():
    assert len(LabelTemplate().label(CART, "x" * 100_000, 0, 0, {})) == LONGEST


@pytest.mark.parametrize(
    ("template", "patterns", "words"),
    [
        ("{servise}", (), "labels::template: unknown field {servise} (known: service, kind"),
        ("constant", (), "names no field"),
        ("", (), "names no field"),
        ("{}", (), "names no field"),
        ("{name}", ("(",), "labels::patterns: '(' is not a regular expression"),
    ],
)
def test_templates_that_cannot_be_used(template, patterns, words):
    with pytest.raises(ValueError) as error:
        LabelTemplate(template, patterns)
    assert words in str(error.value)


def test_callees():
    assert with_callee("cart client GET", "pricing") == f"cart client GET{CALLEE}pricing"
    assert with_callee("cart client GET", "") == "cart client GET"
    assert stem(with_callee("cart client GET", "pricing")) == "cart client GET" == stem("cart client GET")


@pytest.mark.parametrize("status", ["200", "503", "grpc:14", "ERROR"])
def test_a_stem_is_what_stays_when_a_call_fails(status: str) -> None:
    assert stem(with_callee(f"cart client GET /carts {status}", "pricing")) == "cart client GET /carts"
    assert stem(f"{status} GET /carts 10.0.0.1") == "GET /carts 10.0.0.1"
