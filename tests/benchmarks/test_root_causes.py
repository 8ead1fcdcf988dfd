from dataclasses import replace

import numpy as np
import pytest
from tiny_model import START, shop_traces

from benchmarks.root_causes import AFTER, MODEL, REFERENCE, RULE, WHOLE, Named, _named, _slowest, _training, table, text
from benchmarks.targets.traffic import FAULT, NORMAL, Traffic, arrange
from otel_tracead.generator import Fault
from otel_tracead.traces.encoding import Encoder
from otel_tracead.traces.labels import LabelTemplate

MINUTE_S = 8.0
MINUTES = 9
FAULTY = (6, 7, 8)


@pytest.fixture(scope="module")
def traffic() -> Traffic:
    """Nine short minutes of the shop, the last three with a fault."""
    begins, lasts = FAULTY[0] * MINUTE_S, len(FAULTY) * MINUTE_S
    slow = Fault(kind="slow_service", service="product-catalog", start_s=begins, duration_s=lasts)
    events = Encoder(LabelTemplate()).encode(shop_traces(5, MINUTES * MINUTE_S, (slow,)))
    minute = np.minimum((events.began - START) // int(MINUTE_S * 1e9), MINUTES - 1)
    names = np.array([f"{one}.jsonl.gz" for one in range(MINUTES)])
    state = np.where(np.isin(minute, FAULTY), FAULT, NORMAL)
    return arrange("shop", events, names[minute], state, {str(names[one]): "cpu_contention" for one in FAULTY})


def fault(traffic: Traffic) -> dict[str, object]:
    return {
        "id": "shop-0",
        "service": "product-catalog",
        "type": "cpu_contention",
        "files": [traffic.minutes[one] for one in (FAULTY[0] - 1, *FAULTY)],
        "injected_at_unix_nano": START + int(FAULTY[0] * MINUTE_S * 1e9),
    }


def test_a_known_fault_is_named_in_every_way(traffic):
    named = list(_named(traffic, fault(traffic), 2))
    assert [(one.window, one.against) for one in named] == [
        (window, against) for window in (AFTER, WHOLE) for against in (MODEL, REFERENCE, RULE)
    ]
    assert all(one.place == 1 and one.stands_out for one in named if one.against != RULE)


def test_no_model_learns_from_the_block_of_a_fault(traffic):
    own = np.isin(traffic.minute, FAULTY)
    training = _training(traffic, own, 2)
    assert (traffic.state[training] == NORMAL).all()
    assert set(traffic.minute[training]) == {0, 1, 2}  # the fault begins after the second block has begun


def test_the_rule_takes_the_service_that_grew_most(traffic):
    events = traffic.events
    index = events.services.index("cart")
    slow = replace(events, duration_us=np.where(events.service == index, 50.0, 1.0) * events.duration_us)
    assert _slowest(slow, events)[0] == "cart"


def test_shares_by_type_of_fault():
    def one(kind: str, place: int) -> Named:
        return Named("shop", "id", kind, "cart", AFTER, MODEL, place, stands_out=place == 1)

    rows = table([one("network_delay", 1), one("network_delay", 3), one("return", 9), one("return", 2)])
    shares = {row["faults"]: (row["count"], row["first"], row["first_three"], row["stands_out"]) for row in rows}
    assert shares == {
        "all": (4, 0.25, 0.75, 0.25),
        "network_delay": (2, 0.5, 1.0, 0.5),
        "cpu and network": (2, 0.5, 1.0, 0.5),
        "return": (2, 0.0, 0.5, 0.0),
    }
    (section,) = text(rows)
    assert section.splitlines()[2].split() == ["all", "4", "25%", "/", "75%"]
