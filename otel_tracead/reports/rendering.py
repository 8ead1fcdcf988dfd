"""Templates become a page: everything that comes from outside is escaped, and the page may load and run nothing."""

import re
from functools import cache
from typing import Any

import jinja2


def render(template: str, **content: Any) -> str:
    """Fill *template*, a file of this package's `templates`, with *content*."""
    return _environment().get_template(template).render(**content)


def percent(share: float) -> str:
    """Write a share of 1 for people: `< 0.1 %`, `0.4 %`, `12 %`, `100 %` (and that only if it is all)."""
    value = 100 * share
    if value in (0, 100):
        return f"{value:.0f} %"
    if value < 0.1:
        return "< 0.1 %"
    if value > 99:
        return f"{min(value, 99.9):.1f} %"
    return f"{value:.1f} %" if value < 10 else f"{value:.0f} %"


def milliseconds(value: float) -> str:
    """Write a time in the unit that suits it: `85.0 µs`, `4.12 ms`, `310 ms`, `2.40 s`."""
    if value <= 0:
        return "0 ms"
    if value < 1:
        return f"{value * 1e3:.3g} µs"
    if value < 100:
        return f"{value:.3g} ms"
    return f"{value:.0f} ms" if value < 1000 else f"{value / 1e3:.2f} s"


def count(value: float) -> str:
    """Write a whole number with thin spaces between thousands."""
    return f"{round(value):,}".replace(",", "\u202f")


def one_in(score: float) -> str:
    """Say how rare a score is: 2 means that one normal trace in 100 looks as odd."""
    return f"1 in {count(float(f'{10.0 ** min(score, 9.0):.2g}'))}"


def unbroken(words: str) -> str:
    """Keep figures on one line with their units and names: `93.9 %`, `k = 1`."""
    return re.sub(r"(?<=\d) (?=%|ms\b|s\b|min\b|points\b)| (?==)|(?<==) ", "\u00a0", words)


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("otel_tracead.reports"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        percent=percent, milliseconds=milliseconds, count=count, one_in=one_in, unbroken=unbroken
    )
    return environment
