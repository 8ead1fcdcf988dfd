"""`python -m tools.picture FILE TRACE_ID SVG`: draws one annotated trace of an OTLP/JSON file, with its marked spans' attributes.

The picture of the README is trace a62ef07a47a2c096b3e34e50c0f8d2bd of these files:

    otel-tracead generate --start 2026-01-05T09:00:00Z --duration 6m --seed 77 --standard-faults --output shop.jsonl
    otel-tracead score --model model_artifacts/shop --input shop.jsonl --output annotated.jsonl
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any, Final

import click

_ROW, _NAMES, _BARS, _PAD, _LINE = 24, 450, 450, 16, 17
_ERROR: Final = 2
_WIDTH: Final = _NAMES + _BARS + 2 * _PAD
_COLOURS: Final = {"response_time": "#d9480f", "structural": "#862e9c", "both": "#c2255c"}
_WORDS: Final = {"response_time": "too slow", "structural": "not as usual", "both": "too slow, not as usual"}


@dataclass
class _Span:
    service: str
    name: str
    id: str
    parent: str
    start: int
    end: int
    error: bool
    attributes: dict[str, Any]
    children: list["_Span"] = field(default_factory=list)

    @property
    def anomaly(self) -> str:
        return str(self.attributes.get("tracead.anomaly.type", ""))


def _value(value: Mapping[str, Any]) -> Any:
    content: Any
    kind, content = next(iter(value.items()), ("stringValue", ""))
    if kind == "arrayValue":
        return [_value(one) for one in content.get("values", [])]
    return int(content) if kind == "intValue" else content


def _attributes(pairs: list[Mapping[str, Any]]) -> dict[str, Any]:
    return {pair["key"]: _value(pair.get("value", {})) for pair in pairs}


def _read(path: Path, trace_id: str) -> Iterator[_Span]:
    for line in path.open(encoding="utf-8"):
        if trace_id not in line:
            continue
        for resource in json.loads(line)["resourceSpans"]:
            service = _attributes(resource["resource"]["attributes"])["service.name"]
            for one in (span for scope in resource["scopeSpans"] for span in scope["spans"]):
                if one["traceId"] == trace_id:
                    times = int(one["startTimeUnixNano"]), int(one["endTimeUnixNano"])
                    parent, attributes = one.get("parentSpanId", ""), _attributes(one.get("attributes", []))
                    failed = one.get("status", {}).get("code") == _ERROR
                    yield _Span(service, one["name"], one["spanId"], parent, *times, failed, attributes)


def _walk(span: _Span, depth: int = 0) -> Iterator[tuple[int, _Span]]:
    yield depth, span
    for child in sorted(span.children, key=lambda one: one.start):
        yield from _walk(child, depth + 1)


def _text(x: float, y: float, text: str, **style: str) -> str:
    attributes = "".join(f' {key.replace("_", "-")}="{value}"' for key, value in style.items())
    return f'<text x="{x:.0f}" y="{y:.0f}"{attributes}>{escape(text)}</text>'


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.4g}"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list) else str(value)


def _bar(span: _Span, y: float, first: int, scale: float) -> list[str]:
    x = _PAD + _NAMES + (span.start - first) * scale
    width = max((span.end - span.start) * scale, 2.0)
    colour = _COLOURS.get(span.anomaly, "#adb5bd")
    parts = [f'<rect x="{x:.1f}" y="{y + 5:.1f}" width="{width:.1f}" height="{_ROW - 10}" rx="2" fill="{colour}"/>']
    upper = span.attributes.get("tracead.response_time.upper_ms")
    if upper is not None:
        at = x + upper * 1e6 * scale
        parts.append(f'<path d="M{at:.1f} {y + 2:.1f}v{_ROW - 4}" stroke="#212529" stroke-dasharray="3 2"/>')
    said = f"{(span.end - span.start) / 1e6:.1f} ms"
    said += " · error" if span.error else ""
    said += f" · {_WORDS[span.anomaly]}" if span.anomaly else ""
    room = x + width + 6 + 6.2 * len(said) < _WIDTH - _PAD
    place = {"text_anchor": "start"} if room else {"text_anchor": "end"}
    beyond = x + width + 6 if room else (x - 6 if x - _PAD - _NAMES > 6.2 * len(said) else x + width - 6)
    inside = not room and beyond > x
    fill = "#ffffff" if inside and span.anomaly else colour if span.anomaly else "#495057"
    return [*parts, _text(beyond, y + 16, said, fill=fill, font_size="11", **place)]


def draw(spans: list[_Span]) -> str:
    """Draw the spans of one trace as SVG: a waterfall, and below it what was appended to the marked spans."""
    by_id = {span.id: span for span in spans}
    roots = [span for span in spans if span.parent not in by_id]
    for span in spans:
        if span.parent in by_id:
            by_id[span.parent].children.append(span)
    first, last = min(span.start for span in spans), max(span.end for span in spans)
    scale = _BARS / (last - first)
    out: list[str] = []
    y = float(_PAD)
    rows = [row for root in sorted(roots, key=lambda one: one.start) for row in _walk(root)]
    for depth, span in rows:
        if span.anomaly:
            out.append(
                f'<rect x="0" y="{y:.1f}" width="{_WIDTH}" height="{_ROW}" fill="{_COLOURS[span.anomaly]}" opacity=".09"/>'
            )
        service = _text(_PAD + 11 * depth, y + 16, span.service, font_weight="600", fill="#212529")
        name = f'<tspan font-weight="400" fill="#495057"> {escape(span.name)}</tspan></text>'
        out += [service.replace("</text>", name), *_bar(span, y, first, scale)]
        y += _ROW
    y += _PAD
    marked = [span for _, span in rows if any(key.startswith("tracead.") for key in span.attributes)]
    for span in marked:
        y += _LINE
        out.append(
            _text(_PAD, y, f"{span.service} {span.name}", font_weight="600", fill=_COLOURS.get(span.anomaly, "#212529"))
        )
        for key, value in span.attributes.items():
            if key.startswith("tracead."):
                y += _LINE
                out.append(_text(_PAD + 14, y, key, font_family="monospace", fill="#495057"))
                out.append(_text(_PAD + 290, y, _shown(value), font_family="monospace", fill="#212529"))
        y += 8
    height = y + _PAD
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height:.0f}" width="{_WIDTH}" height="{height:.0f}"'
    style = 'font-family="system-ui, sans-serif" font-size="12"'
    frame = (
        f'<rect x=".5" y=".5" width="{_WIDTH - 1}" height="{height - 1:.1f}" rx="6" fill="#ffffff" stroke="#ced4da"/>'
    )
    return "\n".join([f"{head} {style}>", frame, *out, "</svg>\n"])


@click.command()
@click.argument("source", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("trace_id")
@click.argument("target", type=click.Path(dir_okay=False, path_type=Path))
def main(source: Path, trace_id: str, target: Path) -> None:
    """Draw the trace TRACE_ID of SOURCE (OTLP JSON lines, annotated) as the SVG TARGET."""
    spans = list(_read(source, trace_id))
    if not spans:
        raise click.ClickException(f"{source} has no trace {trace_id}")
    target.write_text(draw(spans), encoding="utf-8")


if __name__ == "__main__":
    main()
