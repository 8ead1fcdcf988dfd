"""The elements of big JSON documents, cut out one after the other without holding the whole.

Only brackets and strings are looked at here; what is cut out still has to be parsed.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

# Possessive, so that a string of any length costs no memory for ways back. The group tells a closed string.
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+("?)|[{}\[\]]', re.DOTALL)
_TO_BRACKET = re.compile(rb'(?:[^"{}\[\]]++|"[^"\\]*+(?:\\.[^"\\]*+)*+")*+([{}\[\]])', re.DOTALL)
_CHUNK = 1 << 20
_DEEPEST = 1024  # what is nested deeper no reader takes


class ScanError(ValueError):
    """The text is no JSON, ends too early, or holds an element that is too large.

    Attributes:
        line: where, counted from 1.
    """

    def __init__(self, line: int, what: str) -> None:
        super().__init__(what)
        self.line = line


@dataclass(frozen=True, slots=True)
class Element:
    """A part of a document.

    Attributes:
        line: on which it starts.
        container: the key of the list that it stands in; empty in a list without a key, None for a whole object.
        raw: its text.
    """

    line: int
    container: str | None
    raw: bytes


class ElementScanner:
    """Cuts documents, one or several in a row, into elements.

    A list gives its items, an object with a list under one of *keys* the items of that list (the rest of the
    object is skipped), any other object is given whole.

    Args:
        read: gives up to as many bytes as it is asked for, none at the end.
        keys: of lists in objects.
        limit: bytes that one element may have.
        line: the number of the first line.
    """

    def __init__(self, read: Callable[[int], bytes], keys: frozenset[str], limit: int, line: int = 1) -> None:
        self._read = read
        self._keys = keys
        self._limit = limit
        self._buffer = b""
        self._position = 0  # up to where it was scanned
        self._kept = 0  # from where it is still needed
        self._line = line
        self._counted = 0  # up to where its line ends were counted

    def __iter__(self) -> Iterator[Element]:
        """Walk over the elements. Raises `ScanError` after the last good one."""
        while token := self._token(b""):
            if token == b"[":
                yield from self._list("")
            elif token == b"{":
                yield from self._object()
            else:
                raise self._error("expected a JSON object or list")
            self._kept = self._position

    def _list(self, container: str) -> Iterator[Element]:
        between = b""
        while True:
            self._kept = self._position
            token = self._inner_token(between)
            if token == b"]":
                return
            if token not in (b"{", b"["):
                raise self._error("expected a list of JSON objects")
            yield self._whole(container)
            between = b","

    def _whole(self, container: str | None) -> Element:
        """Make an element of the value whose opening bracket was taken last."""
        self._kept = self._position - 1
        line = self._line_at(self._kept)
        self._skip()
        return Element(line, container, self._buffer[self._kept : self._position])

    def _object(self) -> Iterator[Element]:
        self._kept = self._position - 1
        line, cut, key = self._line_at(self._kept), False, ""
        while True:
            kept, before = self._kept, self._position
            token = self._inner_token(None)
            if token[:1] == b'"':
                key = token[1:-1].decode(errors="replace")
            elif token == b"}":
                break
            elif token == b"[" and key in self._keys and self._text(before - kept).strip() == b":":
                cut = True
                yield from self._list(key)
            elif token in (b"{", b"["):
                self._skip()
            else:
                raise self._error("a bracket that does not match")
            if cut:
                self._kept = self._position
        if not cut:
            yield Element(line, None, self._buffer[self._kept : self._position])

    def _text(self, start: int) -> bytes:
        """Give the text from *start* after what is kept up to the bracket that was taken last."""
        return self._buffer[self._kept + start : self._position - 1]

    def _inner_token(self, between: bytes | None) -> bytes:
        """Take the next token of a document that is not over."""
        token = self._token(between)
        if not token:
            raise self._error("ends in the middle of a JSON value")
        return token

    def _token(self, between: bytes | None) -> bytes:
        """Take the next bracket or string, empty at the end; what is kept before it must be *between*, if not None."""
        while True:
            found = _TOKEN.search(self._buffer, self._position)
            if found and found[1] != b"":
                break
            if not self._fill():
                if found or self._buffer[self._position :].strip():
                    raise self._error("not valid JSON, or cut off")
                return b""
        self._position = found.end()
        before = self._buffer[self._kept : found.start()].strip() if between is not None else None
        if before != between and not (found[0] == b"]" and not before):
            raise self._error("not valid JSON between two values")
        return found[0]

    def _skip(self) -> None:
        """Go on to the bracket that closes the one which was taken last."""
        depth = 1
        while depth:
            found = _TO_BRACKET.match(self._buffer, self._position)
            if found:
                self._position = found.end()
                depth += 1 if found[1] in b"{[" else -1
                if depth > _DEEPEST:
                    raise self._error(f"nested deeper than {_DEEPEST} brackets")
            elif not self._fill():
                raise self._error("ends in the middle of a JSON value")

    def _fill(self) -> bool:
        kept = self._buffer[self._kept :]
        if len(kept) > self._limit:
            raise self._error(f"one value of more than {self._limit >> 20} MiB")
        self._line_at(self._kept)
        self._counted -= self._kept
        self._position -= self._kept
        self._kept = 0
        data = self._read(max(_CHUNK, len(kept)))
        self._buffer = kept + data
        return bool(data)

    def _line_at(self, position: int) -> int:
        self._line += self._buffer.count(b"\n", self._counted, position)
        self._counted = position
        return self._line

    def _error(self, what: str) -> ScanError:
        return ScanError(self._line_at(self._position), what)
