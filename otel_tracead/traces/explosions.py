"""Labels that explode because names hold ids which no pattern caught: where they are, and a pattern that would catch them."""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

_PIECES: Final = re.compile(r"([0-9A-Za-z]+)")
_VARIED: Final = "*"
_KINDS: Final = frozenset({"server", "client", "producer", "consumer"})
_STATUS: Final = re.compile(r"[1-5]\d\d")
_FEW: Final = 5  # different pieces at one place are no explosion: methods, statuses, versions
_MANY_MORE: Final = 1.5
_EXAMPLES: Final = 2
_LONGEST_CONTEXT: Final = 60

Pieces = tuple[str, ...]
"""A label cut into words of letters and digits (odd places) and what stands between them (even places)."""


@dataclass(frozen=True, slots=True)
class Explosion:
    """Labels that differ in the same places only.

    Attributes:
        shape: what they have in common, with `*` where they differ.
        labels: how many there are.
        examples: some of them.
        patterns: regular expressions for `labels::patterns` that turn what differs into `{id}`; none where it is no part of
            a span's name, or where nothing safe can be said.
    """

    shape: str
    labels: int
    examples: tuple[str, ...]
    patterns: tuple[str, ...]


def explosions(
    labels: Iterable[str], services: Collection[str] = (), *, fewest: int, limit: int = 3
) -> list[Explosion]:
    """Find the largest groups of *fewest* or more labels that differ in the same places only, largest first.

    Args:
        labels: different labels.
        services: names that labels begin with, or name as callee; no pattern reaches them.
        fewest: labels in a group.
        limit: groups to give.
    """
    rest = {label: tuple(_PIECES.split(label)) for label in labels}
    found: list[Explosion] = []
    while len(found) < limit and rest:
        shape, group = _largest(rest)
        if len(group) < fewest:
            break
        found.append(_explosion(shape, {label: rest[label] for label in group}, services))
        rest = {label: pieces for label, pieces in rest.items() if label not in group}
    return found


def _largest(labels: Mapping[str, Pieces]) -> tuple[Pieces, set[str]]:
    """Give the shape that most labels have: words with a digit vary, or one word more where that takes in many more."""
    exact: dict[Pieces, set[str]] = {}
    for label, pieces in labels.items():
        exact.setdefault(tuple(_digits(piece) for piece in pieces), set()).add(label)
    wider: dict[Pieces, set[str]] = {}
    for shape, group in exact.items():
        for place in range(1, len(shape), 2):
            wider.setdefault((*shape[:place], _VARIED, *shape[place + 1 :]), set()).update(group)
    best, *others = (max(one.items(), key=lambda item: (len(item[1]), item[0])) for one in (exact, wider) if one)
    return next((other for other in others if len(other[1]) > _MANY_MORE * len(best[1])), best)


def _digits(piece: str) -> str:
    return _VARIED if any(map(str.isdigit, piece)) and not _STATUS.fullmatch(piece) else piece


def _explosion(shape: Pieces, group: Mapping[str, Pieces], services: Collection[str]) -> Explosion:
    names = sorted(group)
    columns = list(zip(*(group[name] for name in names), strict=True))
    places = [
        place
        for place, piece in enumerate(shape)
        if piece == _VARIED and len(set(columns[place])) > min(_FEW, len(names) // 2)
    ]
    common = tuple(_VARIED if place in places else columns[place][0] for place in range(len(shape)))
    patterns = tuple(
        dict.fromkeys(
            pattern
            for place in places
            if not _of_service(names[0], group[names[0]], place, services)
            for pattern in [_pattern(common, columns[place], place, services)]
            if pattern is not None
        )
    )
    return Explosion(
        "".join(common), len(names), tuple(names[:_EXAMPLES]), patterns if _catches(patterns, names) else ()
    )


def _of_service(label: str, pieces: Pieces, place: int, services: Collection[str]) -> bool:
    """Say whether the piece at *place* is part of the name of the service, or of the one that is called."""
    before = len("".join(pieces[:place]))
    starts_with = max((len(one) for one in services if label.startswith(f"{one} ") or label == one), default=0)
    return before < starts_with or " → " in label[:before]


def _pattern(common: Pieces, words: Sequence[str], place: int, services: Collection[str]) -> str | None:
    """Give an expression for *words* at *place*, held by what stands before or behind it in the same name."""
    digits = all(re.search(r"\d", one) for one in words)
    word = f"(?=[A-Za-z]*\\d){_class_of(words)}" if digits and not all(map(str.isdecimal, words)) else _class_of(words)
    before = "".join(common[:place]).rpartition(_VARIED)[2]
    near = re.split(r"\s", before)[-1][-_LONGEST_CONTEXT:]
    behind = "".join(common[place + 1 :]).partition(_VARIED)[0]
    after = re.split(r"\s", behind)[0][:_LONGEST_CONTEXT]
    end = "(?![0-9A-Za-z])"
    if near and (digits or any(map(str.isalnum, near))):
        return f"(?<={re.escape(near)}){word}{end}"
    if any(map(str.isalnum, after)):
        return f"(?<![0-9A-Za-z]){word}(?={re.escape(after)})"
    if digits:
        return f"(?<![0-9A-Za-z]){word}{end}"
    last = before.split()[-1:]
    if last and last[0] not in _KINDS and last[0] not in services and before.endswith(" "):
        return f"(?<={re.escape(last[0])} ){word}{end}"
    return None


def _class_of(words: Sequence[str]) -> str:
    """Give the narrowest class of characters that all *words* are of, with their least length."""
    classes: tuple[tuple[Callable[[str], bool], str], ...] = (
        (str.isdecimal, r"\d"),
        (lambda word: re.fullmatch("[0-9a-f]+", word) is not None, "[0-9a-f]"),
        (lambda word: word.isalpha() and word.islower(), "[a-z]"),
        (lambda word: re.fullmatch("[0-9a-z]+", word) is not None, "[0-9a-z]"),
    )
    text = next((text for fits, text in classes if all(map(fits, words))), "[0-9A-Za-z]")
    least = min(map(len, words))
    return f"{text}{{{least},}}" if least > 1 else f"{text}+"


def _catches(patterns: Sequence[str], labels: Sequence[str]) -> bool:
    """Say whether *patterns* make few labels of many."""
    left = set(labels)
    for pattern in patterns:
        left = {re.sub(pattern, "{id}", label) for label in left}
    return len(left) <= max(len(labels) // 5, 1)
