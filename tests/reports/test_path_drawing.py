from xml.etree import ElementTree as ET

import pytest
from hostile import HOSTILE, page_text
from path_samples import group, node, page
from test_training_report import manifest

from otel_tracead.detection.paths import Operation
from otel_tracead.reports.path_drawing import document, draw
from otel_tracead.reports.training import render

SVG = "{http://www.w3.org/2000/svg}"


def drawn(operations: list[Operation], services: list[str]) -> ET.Element:
    """Read a document, after making sure that it loads and runs nothing."""
    root = ET.fromstring(document(operations, services))
    assert root.tag == f"{SVG}svg"
    for element in root.iter():
        assert element.tag.removeprefix(SVG) in {
            "svg",
            "style",
            "rect",
            "g",
            "title",
            "line",
            "path",
            "circle",
            "text",
            "tspan",
        }
        assert not any(name.startswith("on") or "href" in name for name in element.attrib)
    return root


def test_a_row_for_each_call_in_order():
    (picture,) = draw([page()], ["front", "cart"])
    assert [row.service + row.text for row in picture.rows][:3] == ["fronthome", "frontGetCart → cart", "cartGetCart"]
    assert [row.x for row in picture.rows[:3]] == sorted({row.x for row in picture.rows})
    assert [row.y for row in picture.rows] == sorted({row.y for row in picture.rows})
    assert len({row.colour for row in picture.rows}) == 2
    notes = {row.text.split(" ")[0]: row.note for row in picture.rows[2:]}
    assert notes == {
        "GetCart": "+ 2 rarer",
        "Ads": "62 %",
        "Rates": "",
        "List": "",
        "Product": "\N{MULTIPLICATION SIGN}2.5 ↻",
        "Convert": "\N{MULTIPLICATION SIGN}4 at once",
    }
    assert all(row.x < picture.width and row.y < picture.height for row in picture.rows)


def test_arrows_say_what_waits_for_what():
    (picture,) = draw([page()], [])
    waits = [(row.waits, row.waited) for row in picture.rows]
    assert waits == [
        ("", ""),
        ("", ""),
        ("", ""),
        ("above", "front GetCart → cart"),
        ("earlier", "front GetCart → cart"),
        ("earlier", "front GetCart → cart, front Ads → ads"),
        ("above", "front Ads → ads, front Rates → rates, front List → list"),
        ("earlier", "front GetCart → cart"),
    ]


def test_bars_span_the_calls_that_are_at_once():
    (picture,) = draw([page()], [])
    (bar,) = picture.bars
    inside = [row.full for row in picture.rows if bar.y < row.y < bar.y + bar.height]
    assert inside == ["front Ads → ads", "front Rates → rates", "front List → list"]
    assert bar.words == "some at once"
    below = (
        node(0, "r", None, 0),
        node(1, "a", 0, 1),
        node(2, "a2", 1, 2),
        node(3, "b", 0, 1),
        node(4, "b2", 3, 2),
        node(5, "c", 0, 1),
    )
    groups = (group(0, 0, (1, 3)), group(0, 1, (5,)), group(1, 0, (2,)), group(3, 0, (4,)))
    (picture,) = draw([Operation("r", 1, below, groups)], [])
    (bar,) = picture.bars
    assert [row.full for row in picture.rows if bar.y < row.y < bar.y + bar.height] == ["a", "a2", "b", "b2"]
    assert bar.words == "at once"


def test_a_large_operation_is_cut_at_a_level():
    nodes = [node(0, "r", None, 0)]
    for branch in range(5):
        nodes.append(node(len(nodes), f"a{branch}", 0, 1))
        caller = len(nodes) - 1
        nodes += [node(len(nodes) + leaf, f"b{leaf}", caller, 2) for leaf in range(10)]
    groups = tuple(group(one.caller, one.id, (one.id,)) for one in nodes if one.caller is not None)
    operation = Operation("r", 1, tuple(nodes), groups)
    (picture,) = draw([operation], [], most_rows=20)
    assert [row.note for row in picture.rows] == ["", *["+ 10 below"] * 5]
    assert len(draw([operation], [])[0].rows) == len(nodes)
    assert len(draw([operation], [], most_rows=3)[0].rows) == 6


def test_a_document_holds_all_operations():
    root = drawn([page("home"), page("basket")], ["front", "cart"])
    titles = [element.text for element in root.iter(f"{SVG}text") if element.get("class") == "title"]
    assert titles == ["front home (1 234 traces)", "front basket (1 234 traces)"]
    lowest = max(float(element.get("y", 0)) for element in root.iter(f"{SVG}text"))
    assert lowest < float(root.get("height", 0))
    drawn([], [])


@pytest.mark.parametrize(
    "text", [HOSTILE, "\x00\x1b\ufffe", "]]>", "<svg onload=alert(1)>", "&", "x" * 5000, "日本" * 90]
)
def test_labels_are_only_text(text):
    operation = Operation(text, 2, (node(0, text, None, 0), node(1, text, 0, 1)), (group(0, 0, (1,)),))
    root = drawn([operation], [text])
    assert len(list(root.iter(f"{SVG}circle"))) == 2
    assert "Execution paths" in page_text(render(manifest(training={"services": [text]}), [operation]))


def test_the_report_shows_the_first_and_folds_the_rest():
    operations = [page(f"page{number}") for number in range(25)]
    report = render(manifest(), operations)
    text = page_text(report)
    assert report.count("<details open>") == 3
    assert "front page19" in text
    assert "front page20" not in text
    assert "5 less frequent operations" in text
    assert "Execution paths" not in page_text(render(manifest()))
