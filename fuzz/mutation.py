"""Changes inputs so that they stay what they are: protobuf fields, JSON values, frames; plain bytes for the rest."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Final

_VARINT, _FIXED64, _LENGTH, _GROUP, _END_GROUP, _FIXED32 = range(6)
_DEEPEST: Final = 120
_MOST_FIELDS: Final = 400

INTEGERS: Final = (0, 1, 2, 5, 127, 128, 255, 256, 1000, 65535, 65536, *(
    number + delta for bits in (31, 32, 53, 62, 63, 64) for number in (1 << bits,) for delta in (-1, 0, 1)
))  # fmt: skip
WORDS: Final = (
    b"",
    b"\0",
    b"tracead.",
    b"tracead.x",
    b"service.name",
    b"http.method",
    b"\xc3\xa9",
    b"\xed\xa0\x80",
    b"\xff\xfe",
    b"\x1b[31m",
    b"\r\n",
    b"a" * 8,
    b"b" * 16,
    bytes(8),
    bytes(16),
    b"x" * 130,
)


def any_bytes(data: bytes, random: Random) -> bytes:
    """Change some bytes, whatever they are."""
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 4))):
        at = random.randrange(len(changed) + 1)
        match random.randrange(6):
            case 0 if at < len(changed):
                changed[at] ^= 1 << random.randrange(8)
            case 1 if at < len(changed):
                changed[at] = random.choice((0, 1, 0x7F, 0x80, 0xFF, random.randrange(256)))
            case 2:
                del changed[at : at + random.choice((1, 2, 8, 64))]
            case 3:
                changed[at:at] = random.choice(WORDS)
            case 4:
                start = random.randrange(len(changed) + 1)
                changed[at:at] = changed[start : start + random.choice((1, 4, 16, 64))]
            case _:
                changed[at : at + 1] = random.randbytes(random.choice((1, 2, 8)))
    return bytes(changed)


def varint(value: int, wide: int = 0) -> bytes:
    """Encode an integer as protobuf does, in *wide* bytes more than it needs."""
    value &= (1 << 64) - 1
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    for _ in range(min(wide, 10 - len(encoded))):
        encoded[-1] |= 0x80
        encoded.append(0)
    return bytes(encoded)


@dataclass(slots=True)
class Field:
    """One field of a protobuf message.

    Attributes:
        number: of the field.
        kind: its wire type.
        value: an integer, the bytes of a fixed number or a payload, or the fields in it.
        wide: bytes that its tag and its length take more than they need.
    """

    number: int
    kind: int
    value: "int | bytes | list[Field]"
    wide: int = 0

    def encode(self) -> bytes:
        """Give its bytes."""
        tag = varint(self.number << 3 | self.kind, self.wide)
        if isinstance(self.value, int):
            return tag + varint(self.value, self.wide)
        payload = self.value if isinstance(self.value, bytes) else b"".join(field.encode() for field in self.value)
        if self.kind == _GROUP:
            return tag + payload + varint(self.number << 3 | _END_GROUP)
        return tag + (varint(len(payload), self.wide) if self.kind == _LENGTH else b"") + payload


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("no varint")


def fields(data: bytes, deep: int = 0) -> list[Field]:
    """Read a message as far down as its payloads look like messages.

    Raises:
        ValueError: it is none.
    """
    found: list[Field] = []
    at = 0
    try:
        while at < len(data):
            tag, at = _read_varint(data, at)
            kind = tag & 7
            if tag < 8 or len(found) > _MOST_FIELDS:
                raise ValueError("no field")
            if kind == _VARINT:
                number, at = _read_varint(data, at)
                found.append(Field(tag >> 3, kind, number))
                continue
            if kind == _LENGTH:
                size, at = _read_varint(data, at)
            elif kind in (_FIXED32, _FIXED64):
                size = 8 if kind == _FIXED64 else 4
            else:
                raise ValueError("a group")
            payload = data[at : at + size]
            at += size
            if len(payload) < size:
                raise ValueError("cut")
            found.append(Field(tag >> 3, kind, payload if kind != _LENGTH else _inside(payload, deep)))
    except IndexError as error:
        raise ValueError("cut") from error
    return found


def _inside(payload: bytes, deep: int) -> "bytes | list[Field]":
    if len(payload) >= 2 and deep < 12 and not (payload.isascii() and payload.decode().isprintable()):
        try:
            return fields(payload, deep + 1)
        except ValueError:
            pass
    return payload


def protobuf(data: bytes, random: Random) -> bytes:
    """Change some fields of a message, wherever they stand; lengths are put right."""
    try:
        message = fields(data)
    except ValueError:
        return any_bytes(data, random)
    for _ in range(random.choice((1, 1, 2, 3))):
        _change(_somewhere(message, random), random)
    return b"".join(field.encode() for field in message)


def _somewhere(message: list[Field], random: Random) -> list[Field]:
    while True:
        inner = [field.value for field in message if isinstance(field.value, list)]
        if not inner or random.random() < 0.25:
            return message
        message = random.choice(inner)


def _change(message: list[Field], random: Random) -> None:
    at = random.randrange(len(message) + 1)
    if at == len(message) or random.random() < 0.15:
        message.insert(at, _new(random))
        return
    field = message[at]
    match random.randrange(9):
        case 0:
            del message[at]
        case 1:
            message.insert(random.randrange(len(message) + 1), field)
        case 2:
            random.shuffle(message)
        case 3:
            field.wide = random.choice((0, 1, 4, 9))
        case 4:
            field.number = random.choice((*range(1, 17), 99, (1 << 29) - 1))
        case 5:
            _wrap(field, random)
        case _:
            _other_value(field, random)


def _other_value(field: Field, random: Random) -> None:
    if isinstance(field.value, int):
        field.value = random.choice((*INTEGERS, -1, random.getrandbits(64)))
    elif field.kind in (_FIXED32, _FIXED64):
        size = 8 if field.kind == _FIXED64 else 4
        field.value = (random.choice(INTEGERS) & ((1 << 8 * size) - 1)).to_bytes(size, "little")
    else:
        raw = field.value if isinstance(field.value, bytes) else b"".join(one.encode() for one in field.value)
        field.value = random.choice((any_bytes(raw, random), random.choice(WORDS), raw + random.choice(WORDS)))


def _wrap(field: Field, random: Random) -> None:
    """Put the field's value deep into itself, as values in values are, or into a group."""
    if isinstance(field.value, int) or field.kind not in (_LENGTH, _GROUP):
        return
    for _ in range(random.choice((1, 2, 10, 30, 49, 50, 51, _DEEPEST))):
        inner = field.value if isinstance(field.value, bytes) else b"".join(one.encode() for one in field.value)
        if len(inner) > 1 << 14:
            break
        kind = random.choice((_LENGTH, _LENGTH, _LENGTH, _GROUP))
        field.value = Field(random.choice((1, 2, 5, 6)), kind, inner).encode()


def _new(random: Random) -> Field:
    number = random.choice((*range(1, 17), 99))
    match random.randrange(6):
        case 0:
            return Field(number, _VARINT, random.choice(INTEGERS))
        case 1:
            return Field(number, _FIXED64, random.randbytes(8))
        case 2:
            return Field(number, _FIXED32, random.randbytes(4))
        case 3:
            return Field(random.choice((1, number)), _LENGTH, random.choice(WORDS))
        case 4:
            return Field(number, _GROUP, [Field(9, _LENGTH, random.choice(WORDS))])
        case _:
            key, value = random.choice(WORDS), Field(random.choice((1, 5, 6, 7)), _LENGTH, random.choice(WORDS))
            return Field(number, _LENGTH, [Field(1, _LENGTH, key), Field(2, _LENGTH, [value])])


class _Object(list[list[Any]]):
    """A JSON object as [key, value] pairs, so that a key may stand twice."""


_SCALARS: Final[tuple[Any, ...]] = (
    *(None, True, False, "", "a", "0", "1", "-1", "+1", "1_0", "\u0661", "é", "\U0001f600", "tracead.x"),
    *("\0", "\x1b[31m", "a\nb", "0" * 16, "f" * 32, "A" * 16, "true", "error", "SPAN_KIND_CLIENT", "CLIENT"),
    *(0.0, -0.0, 1.0, 1.5, 1e308, 5e-324, 1e16),
    *INTEGERS,
    *(-number for number in INTEGERS),
    *map(str, INTEGERS),
)


def json_text(keys: Sequence[str]) -> Callable[[bytes, Random], bytes]:
    """Make what changes JSON values; new members of objects get one of *keys*."""

    def mutate(data: bytes, random: Random) -> bytes:
        try:
            value = json.loads(data, object_pairs_hook=lambda pairs: _Object(map(list, pairs)))
        except (ValueError, RecursionError):
            return any_bytes(data, random)
        for _ in range(random.choice((1, 1, 2, 3))):
            value = _changed(value, random, keys)
        written = _write(value, random.choice((",", ", ", ",\n ")), random.choice((True, False)))
        return any_bytes(written, random) if random.random() < 0.1 else written

    return mutate


def _changed(value: Any, random: Random, keys: Sequence[str]) -> Any:
    if not isinstance(value, list) or random.random() < 0.08:
        return _replaced(value, random, keys)
    if value and random.random() < 0.75:
        at = random.randrange(len(value))
        if isinstance(value, _Object):
            if random.random() < 0.1:
                value[at][0] = random.choice(keys)
            else:
                value[at][1] = _changed(value[at][1], random, keys)
        else:
            value[at] = _changed(value[at], random, keys)
        return value
    at = random.randrange(len(value) + 1)
    match random.randrange(3):
        case 0 if at < len(value):
            del value[at]
        case 1 if at < len(value):
            value.insert(random.randrange(len(value) + 1), value[at])
        case _:
            new = _replaced(None, random, keys)
            value.insert(at, [random.choice(keys), new] if isinstance(value, _Object) else new)
    return value


def _replaced(value: Any, random: Random, keys: Sequence[str]) -> Any:
    match random.randrange(8):
        case 0:
            return [value]
        case 1:
            return _Object([[random.choice(keys), value]])
        case 2:
            for _ in range(random.choice((30, 90, 250, 255, 1100))):
                value = [value] if random.random() < 0.5 else _Object([[random.choice(keys), value]])
            return value
        case 3 if isinstance(value, str):
            return value + random.choice(("a", "0", "\0", " ", "'", '"', "\\", "é"))
        case 4 if isinstance(value, str):
            return any_bytes(value.encode("utf-8", "replace"), random).decode("utf-8", "replace")
        case _:
            return random.choice(_SCALARS)


def _write(value: Any, comma: str, escaped: bool) -> bytes:
    # Not recursive: values may be nested deeper than Python's functions.
    out: list[str] = []
    waiting: list[Any] = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, _Text):
            out.append(one)
        elif isinstance(one, list):
            parts: list[Any] = []
            for index, item in enumerate(one):
                if index:
                    parts.append(_Text(comma))
                if isinstance(one, _Object):
                    parts += [_Text(json.dumps(item[0], ensure_ascii=escaped) + ":"), item[1]]
                else:
                    parts.append(item)
            brackets = "{}" if isinstance(one, _Object) else "[]"
            waiting += [_Text(brackets[1]), *reversed(parts), _Text(brackets[0])]
        else:
            out.append(json.dumps(one, ensure_ascii=escaped))
    return "".join(out).encode("utf-8", "replace")


class _Text(str):
    """Text that is written as it is."""

    __slots__ = ()
