import re

import numpy as np
import orjson
import pytest
from hostile import HOSTILE
from path_samples import group, node, page
from test_training_report import manifest

from otel_tracead.artifact.call_paths import CallPaths
from otel_tracead.detection.paths import Operation
from otel_tracead.reports.path_text import to_dot, to_json, to_mermaid
from otel_tracead.reports.path_words import call_note, colours_of, known_services, printable, service_of

TIMES = "\N{MULTIPLICATION SIGN}"
QUOTED = re.compile(r'"(?:[^"\\\n]|\\.)*"')


def grey(_label: str) -> str:
    return "#888888"


def hostile_operation(text: str) -> Operation:
    nodes = (node(0, text, None, 0), node(1, f"a {text}", 0, 1), node(2, f"b {text}", 0, 1))
    return Operation(text, 3, nodes, (group(0, 0, (1, 2)),))


def test_json_is_what_the_page_says():
    totals = np.array([10, 9, 100, 99])
    found = orjson.loads(to_json([page()], manifest(), CallPaths(totals=totals)))
    (operation,) = found.pop("operations")
    assert found == {
        "schema_version": 1,
        "model": {"name": "shop", "version": "abc"},
        "tolerance": 0.05,
        "traces": 10,
        "traces_looked_at": 9,
        "spans": 100,
        "spans_placed": 99,
    }
    assert (operation["root"], operation["traces"]) == ("front home", 1234)
    assert operation["nodes"][6] == {
        "id": 6,
        "label": "front Product → list",
        "depth": 1,
        "concurrent": False,
        "rarer": 0,
        "again_after": 7,
    }
    assert operation["edges"][2] == {"caller": 0, "callee": 3, "probability": 0.625, "mean_count": 1.0}
    assert len(operation["edges"]) == len(operation["nodes"]) - 1
    assert operation["groups"][1] == {
        "caller": 0,
        "position": 1,
        "members": [3, 4, 5],
        "concurrent": True,
        "certain": False,
        "after": [0],
        "pairs": [[3, 4], [4, 5]],
        "order": [[3, 5]],
    }


def test_dot_draws_calls_waiting_and_what_is_at_once():
    text = to_dot([page(), page("basket")], grey)
    for line in (
        'label="front home (1\u202f234 traces)";'.replace("\u202f", " "),
        'n0_1 [label="front GetCart → cart", color="#888888"];',
        "n0_0 -> n0_1;",
        'n0_0 -> n0_3 [label="62 %"];',
        'subgraph cluster_0_3 { label="at once"; style=dashed; n0_3; n0_4; n0_5; }',
        "n0_1 -> n0_3 [style=dashed, color=gray50, constraint=false, lhead=cluster_0_3];",
        "n0_3 -> n0_6 [style=dashed, color=gray50, constraint=false, ltail=cluster_0_3];",
        "n0_3 -> n0_5 [style=dashed, color=gray50, constraint=false];",
        'n0_7 -> n0_6 [style=dashed, color=gray50, constraint=false, label="again"];',
        "subgraph cluster_1 {",
        "n1_0 -> n1_7",
    ):
        assert line in text, line
    assert_is_dot(text)


def test_mermaid_draws_the_same():
    text = to_mermaid([page(), page("basket")], grey)
    for line in (
        "flowchart LR",
        'subgraph op0["front home (1 234 traces)"]',
        'subgraph g0_3["at once"]',
        "n0_0 --> n0_1",
        'n0_0 -->|"62 %"| n0_3',
        "n0_1 -. then .-> g0_3",
        "g0_3 -. then .-> n0_6",
        "n0_3 -. then .-> n0_5",
        "n0_7 -. again .-> n0_6",
        "classDef c0 stroke:#888888",
        "n1_0 --> n1_1",
    ):
        assert line in text, line
    assert_is_mermaid(text)


def assert_is_dot(text: str) -> None:
    """Outside of quotes stands nothing that a label could have put there, and blocks close."""
    bare = QUOTED.sub("", text)
    assert re.fullmatch(r"[\w\s{}\[\];,=<>#-]*", bare.replace("->", "")), bare
    assert bare.count("{") == bare.count("}")
    assert all(line.strip() for line in text.splitlines())


def assert_is_mermaid(text: str) -> None:
    bare = re.sub(r'"[^"\n]*"', '""', text)
    assert re.fullmatch(r'[\w\s\[\]",|#:.>-]*', bare), bare
    opened = sum(line.strip().startswith("subgraph") for line in text.splitlines())
    assert opened == sum(line.strip() == "end" for line in text.splitlines())
    for quoted in re.findall(r'"([^"\n]*)"', text):
        assert not re.search(r"[<>&`\\]|#(?!\d+;)", quoted), quoted


@pytest.mark.parametrize(
    "text",
    [
        HOSTILE,
        'a"]; evil',
        "back\\",
        'quote\\"',
        "line\nbreak\r\x1b[31m",
        "end",
        "`md`",
        "#quot;",
        "<b>&amp;",
        "\ufffe\u2028",
    ],
)
def test_labels_are_only_labels(text):
    operations = [hostile_operation(text)]
    dot, mermaid = to_dot(operations, grey), to_mermaid(operations, grey)
    assert_is_dot(dot)
    assert_is_mermaid(mermaid)
    assert dot.isprintable() or set(dot) - {"\n"} == {one for one in dot if one.isprintable()}
    assert len(dot.splitlines()) == len(to_dot([hostile_operation("x")], grey).splitlines())
    assert len(mermaid.splitlines()) == len(to_mermaid([hostile_operation("x")], grey).splitlines())
    assert orjson.loads(to_json(operations, manifest(), CallPaths()))["operations"][0]["root"] == text


def test_nothing_is_still_a_graph():
    assert_is_dot(to_dot([], grey))
    assert to_mermaid([], grey) == "flowchart LR\n"


def test_what_is_said_of_a_call():
    for said, changes in (
        ("", {}),
        ("62 %", {"probability": 0.62}),
        ("", {"probability": 0.97}),
        (f"{TIMES}2.5", {"mean_count": 2.5}),
        (f"{TIMES}3", {"mean_count": 3.0}),
        (
            f"62 % {TIMES}3 at once ↻",
            {"probability": 0.62, "mean_count": 3.0, "concurrent": True, "again_after": 1},
        ),
    ):
        assert call_note(node(1, "a", 0, 1, **changes)) == said
    assert call_note(node(1, "a", 0, 1, mean_count=1.02)) == ""


def test_a_service_is_found_wherever_the_template_puts_it():
    find = service_of(["front", "front-proxy", "cart", ""])
    assert find("front-proxy server GET /") == "front-proxy"
    assert find("front client GET → cart") == "front"
    assert find("200 GetCart cart") == "cart"
    assert find("cartographer x") == ""
    assert find("GET → cart") == ""


def test_colours_are_those_of_services():
    colour = colours_of(["b", "a", "c"])
    assert len({colour("a"), colour("b"), colour("c"), colour("unknown")}) == 4
    assert colours_of([str(number) for number in range(99)])("98").startswith("#")


@pytest.mark.parametrize("named", [None, "abc", {"a": 1}, [1, None]])
def test_services_of_a_manifest_are_not_trusted(named):
    assert known_services(manifest(training={"services": named})) == []
    assert known_services(manifest(training={})) == []


def test_printable():
    assert printable("a\x1b\u202e\nb\u00a0→") == "a\ufffd\ufffd b →"
