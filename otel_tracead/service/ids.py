"""Names of components and pipelines: `type[/name]`."""

import re
import unicodedata
from dataclasses import dataclass
from typing import Final

_TYPE: Final = re.compile(r"[a-zA-Z][0-9a-zA-Z_]{0,62}", re.ASCII)
_LONGEST_NAME: Final = 1024


@dataclass(frozen=True, slots=True, order=True)
class Id:
    """What names one component or pipeline.

    Attributes:
        type: the component's type, or the pipeline's signal.
        name: what stands after the slash; empty without one.
    """

    type: str
    name: str = ""

    @classmethod
    def parse(cls, text: str) -> "Id":
        """Read `type` or `type/name`; both parts are trimmed.

        Raises:
            ValueError: that is no id, in the Collector's words.
        """
        kind, slash, name = (part.strip() for part in text.partition("/"))
        if not kind:
            where = "the part before / should not be empty" if slash else "id must not be empty"
            raise ValueError(f'in "{text}" id: {where}')
        if slash and not name:
            raise ValueError(f'in "{text}" id: the part after / should not be empty')
        if not _TYPE.fullmatch(kind):
            raise ValueError(f'in "{text}" id: invalid character(s) in type "{kind}"')
        if len(name) > _LONGEST_NAME:
            raise ValueError(f'id "{text[:40]}...": name is longer than {_LONGEST_NAME} characters')
        if any(_is_strange(character) for character in name):
            raise ValueError(f'in "{text}" id: invalid character(s) in name "{name}"')
        return cls(kind, name)

    def __str__(self) -> str:
        return f"{self.type}/{self.name}" if self.name else self.type


def _is_strange(character: str) -> bool:
    """Say whether it is a space, a control character or a symbol."""
    return unicodedata.category(character)[0] in "ZCS"
