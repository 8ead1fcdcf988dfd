"""Labels with ids in them: they are found, and the patterns that are proposed catch them and little else."""

import random
import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_tracead.traces.explosions import explosions
from otel_tracead.traces.labels import DEFAULT_PATTERNS, LabelTemplate
from otel_tracead.wire.batch import Envelope

SHOP = Envelope(b"", b"", {"service.name": "shop"})
NORMAL = [
    "GET /",
    "GET /cart",
    "GET /products",
    "POST /checkout",
    "GET /users/all/settings",
    "SELECT products",
    "health",
]


def ids(alphabet: str, length: int, count: int, seed: int = 0) -> list[str]:
    chance = random.Random(seed)
    return ["".join(chance.choices(alphabet, k=length)) for _ in range(count)]


NAMES = ids(string.ascii_lowercase, 7, 200)
MIXED = [f"{one}7{other}" for one, other in zip(ids(string.ascii_letters, 3, 200), ids("xyz0", 4, 200, 1), strict=True)]


def labels(names: list[str], patterns: tuple[str, ...] = DEFAULT_PATTERNS, status: str = "200") -> set[str]:
    template = LabelTemplate(patterns=patterns)
    return {
        template.label(SHOP, name, 2, 0, {"http.response.status_code": status if "GET" in name else ""})
        for name in names
    }


@pytest.mark.parametrize(
    ("names", "shape"),
    [
        ([f"GET /user/{one}/cart" for one in NAMES], "shop server GET /user/*/cart 200"),
        ([f"GET /user/{one}" for one in NAMES], "shop server GET /user/* 200"),
        ([f"GET /{one}/cart" for one in NAMES], "shop server GET /*/cart 200"),
        ([f"process order-{one}" for one in MIXED], "shop server process order-*"),
        ([f"Charge {one}" for one in MIXED], "shop server Charge *"),
        ([f"Charge {one}" for one in NAMES], "shop server Charge *"),
        (MIXED, "shop server *"),
        ([f"job{number}" for number in range(200)], "shop server *"),
        (
            [f"GET /a/{one}/b/{other}" for one, other in zip(MIXED, reversed(MIXED), strict=True)],
            "shop server GET /a/*/b/* 200",
        ),
        ([f"GET /v1/{one}?page=x{number}" for number, one in enumerate(MIXED)], "shop server GET /v1/*?page=* 200"),
    ],
)
def test_what_explodes_is_named_and_the_proposed_patterns_catch_it_and_nothing_else(names, shape) -> None:
    before = labels(names + NORMAL)
    found, *others = explosions(before, ["shop"], fewest=20)
    assert (found.shape, found.labels, others) == (shape, len(set(names)), [])
    assert set(found.examples) <= before
    assert found.patterns
    assert len(labels(names, (*DEFAULT_PATTERNS, *found.patterns))) == 1
    assert labels(NORMAL, (*DEFAULT_PATTERNS, *found.patterns)) == labels(NORMAL), "names without ids stay as they are"


def test_ordinary_labels_do_not_explode() -> None:
    versions = [f"GET /api/v{version}/{what}" for version in (1, 2, 3) for what in ("cart", "user", "order")]
    statuses = [f"shop server GET /cart {status}" for status in (200, 201, 404, 500, 503)]
    assert explosions([*labels(NORMAL + versions), *statuses], ["shop"], fewest=20) == []
    assert explosions([], fewest=1) == []


def test_ids_in_names_of_services_are_named_without_a_pattern_since_none_reaches_them() -> None:
    services = [f"cart-{one}" for one in MIXED]
    found = explosions([f"{one} server GET /cart" for one in services], services, fewest=20)
    assert (found[0].shape, found[0].patterns) == ("cart-* server GET /cart", ())
    called = explosions([f"shop client GET → {one}" for one in services], ["shop"], fewest=20)
    assert (called[0].shape, called[0].patterns) == ("shop client GET → cart-*", ())


def test_words_that_stand_alone_get_no_pattern_since_it_would_catch_every_name() -> None:
    found = explosions(labels(NAMES), ["shop"], fewest=20)
    assert (found[0].shape, found[0].patterns) == ("shop server *", ())


def test_the_largest_come_first_and_no_label_twice() -> None:
    many = (
        [f"GET /user/{one}" for one in NAMES]
        + [f"job-{one}" for one in MIXED[:50]]
        + [f"POST /x/{one}/y" for one in MIXED]
    )
    found = explosions(labels(many), ["shop"], fewest=20, limit=2)
    assert [one.labels for one in found] == [200, 200]
    assert sum(one.labels for one in explosions(labels(many), ["shop"], fewest=20)) == 450


@given(st.lists(st.text(min_size=1, max_size=30), min_size=1, max_size=40, unique=True))
def test_any_text_is_survived_and_what_is_proposed_can_be_used(names) -> None:
    for one in explosions(names, names[:1], fewest=2, limit=40):
        assert one.labels >= 2
        LabelTemplate(patterns=one.patterns)
        assert all(re.compile(pattern) for pattern in one.patterns)
