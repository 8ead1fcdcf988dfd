"""Tables in which every pair of values of any two factors stands side by side at least once.

`python -m tests.fidelity.pairwise` writes the tables of this folder anew. They are kept as files so that a span that once
was trouble stays in the tests until somebody takes it out.
Source: Cohen, Dalal, Fredman and Patton, The AETG system, IEEE Transactions on Software Engineering 23(7), 1997.
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, product
from pathlib import Path

FOLDER = Path(__file__).parent / "testdata"

SPANS: Mapping[str, Sequence[str]] = {
    "kind": ("unspecified", "internal", "server", "client", "producer", "consumer", "unknown", "negative"),
    "status": ("none", "empty", "ok", "ok message", "error", "error message", "unset message", "unknown code"),
    "attributes": ("none", "types", "nested", "empty key", "twice", "spoofed", "no value"),
    "resource": ("none", "empty", "attributes", "entities", "dropped", "schema"),
    "scope": ("none", "empty", "named", "attributes", "dropped", "schema"),
    "times": ("usual", "zero", "end first", "instant", "no start", "latest"),
    "unknown": ("none", "envelope", "span", "inside"),
    "ids": ("whole", "low half", "wrong length", "zero"),
    "events": ("none", "plain", "full", "odd"),
    "links": ("none", "full", "bare", "odd"),
    "flags": ("none", "sampled", "remote", "unknown bits"),
    "parent": ("none", "child", "zero"),
    "state": ("none", "one", "odd"),
    "dropped": ("none", "some", "most"),
    "name": ("usual", "empty", "unicode"),
}
"""What is nasty about an OTLP span; `nasty_spans` builds them."""

ZIPKIN_SPANS: Mapping[str, Sequence[str]] = {
    "kind": ("none", "client", "server", "producer", "consumer"),
    "local": ("none", "empty", "full", "ipv6", "no address", "unknown field"),
    "remote": ("none", "full", "ipv6", "embedded ipv4", "both", "no address"),
    "tags": ("none", "plain", "numbers", "spoofed", "escaped", "twice"),
    "annotations": ("none", "null", "plain", "with fields", "zero time"),
    "timestamp": ("none", "null", "usual", "zero", "text", "float"),
    "duration": ("none", "usual", "zero", "text", "float"),
    "unknown": ("none", "scalar", "float", "large", "nested", "tags"),
    "trace id": ("long", "64 bits", "short", "upper case"),
    "parent": ("none", "null", "child", "zero", "itself"),
    "flags": ("none", "shared", "debug", "false"),
    "name": ("none", "usual", "null", "escaped"),
}
"""Likewise of a Zipkin span in v2 JSON; `nasty_zipkin` builds them."""

Pair = tuple[tuple[str, str], tuple[str, str]]
Row = dict[str, str]


def pairs(factors: Mapping[str, Sequence[str]]) -> set[Pair]:
    """Give every pair of values of two factors."""
    return {
        ((one, value), (other, other_value))
        for one, other in combinations(factors, 2)
        for value, other_value in product(factors[one], factors[other])
    }


def covered(row: Mapping[str, str]) -> Iterator[Pair]:
    """Walk over the pairs that stand side by side in *row*."""
    return combinations(row.items(), 2)


def generate(factors: Mapping[str, Sequence[str]]) -> list[Row]:
    """Give a table in which every pair stands; the same for the same *factors*. Greedy: close to the smallest, not it."""
    missing = pairs(factors)
    names = list(factors)
    rows = []
    while missing:
        row: Row = dict(
            min(missing, key=lambda pair: [(names.index(name), factors[name].index(value)) for name, value in pair])
        )
        for name in names:
            if name not in row:
                row[name] = max(factors[name], key=lambda value: _gain({**row, name: value}, name, names, missing))
        rows.append({name: row[name] for name in names})
        missing.difference_update(covered(rows[-1]))
    return rows


def _gain(row: Row, name: str, names: Sequence[str], missing: set[Pair]) -> int:
    """Count the missing pairs that the value under *name* makes with the others of *row*."""
    place = names.index(name)
    value = (name, row[name])
    others = ((other, names.index(other)) for other in row if other != name)
    return sum(
        ((((other, row[other]), value) if at < place else (value, (other, row[other]))) in missing)
        for other, at in others
    )


def read(name: str) -> list[Row]:
    """Give the rows of the table *name* of this folder."""
    with (FOLDER / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _write(name: str, factors: Mapping[str, Sequence[str]]) -> None:
    with (FOLDER / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, list(factors), lineterminator="\n")
        table.writeheader()
        table.writerows(generate(factors))


TABLES = {"spans": SPANS, "zipkin_spans": ZIPKIN_SPANS}

if __name__ == "__main__":
    for table, table_factors in TABLES.items():
        _write(table, table_factors)
