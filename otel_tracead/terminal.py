"""Text from outside, so that nothing in it acts on the terminal that shows it: no colours, no cursor, no turned direction."""

import json
import re
from typing import Final

_UNUSUAL: Final = re.compile(r"[^\n\x20-\x7e]")


def escaped(text: str) -> str:
    """Give *text* with whatever is not printable as Python writes it; line ends stay."""
    return _UNUSUAL.sub(lambda found: found[0] if found[0].isprintable() else _as_python(found[0]), text)


def escaped_json(document: str) -> str:
    """Give a JSON *document* that means the same, with whatever is not printable in its strings as JSON escapes it."""
    return _UNUSUAL.sub(lambda found: found[0] if found[0].isprintable() else json.dumps(found[0])[1:-1], document)


def _as_python(character: str) -> str:
    return character.encode("unicode_escape").decode()
