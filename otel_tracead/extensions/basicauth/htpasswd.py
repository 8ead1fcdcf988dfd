"""Apache's htpasswd format: who may come in, and whether a password is theirs; pure, and slow on purpose where it should be.

Of what the Collector's library (go-htpasswd) takes, sha256-crypt and sha512-crypt are missing. Sources: Apache,
misc/password_encryptions.html; Poul-Henning Kamp's md5-crypt (`man openssl-passwd`).
"""

import binascii
import re
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import md5, sha1
from hmac import compare_digest
from typing import Final, Protocol

_BCRYPT: Final = re.compile(r"\$2[abxy]\$([0-9]{2})\$[./A-Za-z0-9]{53}", re.ASCII)
_BCRYPT_READS: Final = 72
_HIGHEST_COST: Final = 17
_MD5: Final = re.compile(r"(\$apr1\$|\$1\$)([^$]{0,8})\$([./A-Za-z0-9]{22})", re.ASCII)
_MD5_ROUNDS: Final = 1000
_SHA1_SIZE: Final = 20
_CRYPT_ALPHABET: Final = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_RENEW: Final = "make it anew with `htpasswd -B`"


class Entry(Protocol):
    """What stands for one user's password.

    Attributes:
        rank: the larger, the longer a look takes.
    """

    @property
    def rank(self) -> int: ...  # noqa: D102 (see above)

    def matches(self, password: bytes) -> bool:
        """Say whether *password* is it; takes as long for any of the same length."""


@dataclass(frozen=True, slots=True)
class _Bcrypt:
    hashed: bytes
    cost: int

    @property
    def rank(self) -> int:
        return 10 + self.cost

    def matches(self, password: bytes) -> bool:
        import bcrypt

        return bcrypt.checkpw(password[:_BCRYPT_READS], self.hashed)


@dataclass(frozen=True, slots=True)
class _Md5Crypt:
    magic: bytes
    salt: bytes
    hashed: bytes
    rank: int = 2

    def matches(self, password: bytes) -> bool:
        return compare_digest(_md5_crypt(password, self.magic, self.salt), self.hashed)


@dataclass(frozen=True, slots=True)
class _Sha1:
    hashed: bytes
    salt: bytes
    rank: int = 1

    def matches(self, password: bytes) -> bool:
        return compare_digest(sha1(password + self.salt, usedforsecurity=False).digest(), self.hashed)


@dataclass(frozen=True, slots=True)
class _Plain:
    text: bytes
    rank: int = 0

    def matches(self, password: bytes) -> bool:
        return compare_digest(password, self.text)


class Users:
    """Who may come in.

    Args:
        entries: by name, at least one.
    """

    def __init__(self, entries: Mapping[bytes, Entry]) -> None:
        self._entries = dict(entries)
        self._dearest = max(self._entries.values(), key=lambda entry: entry.rank)

    def __len__(self) -> int:
        return len(self._entries)

    def admit(self, name: bytes, password: bytes) -> bool:
        """Say whether *password* is that of *name*; a name that is not there takes as long as a wrong password."""
        entry = self._entries.get(name)
        right = entry is not None and entry.matches(password)
        if entry is None or entry.rank < self._dearest.rank:
            self._dearest.matches(password)
        return right


def parse(text: str) -> dict[bytes, Entry]:
    """Read `name:password` lines; of a name that stands twice the last counts.

    Raises:
        ValueError: a line is none, with its number and what to do; says nothing of its content.
    """
    entries: dict[bytes, Entry] = {}
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        name, colon, written = stripped.partition(":")
        if not colon or not name or not written:
            raise ValueError(f"line {number}: write name:password, both with at least one character")
        try:
            entries[name.encode()] = _entry(written)
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None
    return entries


def _entry(written: str) -> Entry:
    """Read a password as it stands in the file; what looks like no hash is plain text."""
    if written.startswith(("$2a$", "$2b$", "$2x$", "$2y$")):
        found = _BCRYPT.fullmatch(written)
        if found is None:
            raise ValueError(f"not a whole bcrypt hash; {_RENEW}")
        cost = int(found[1])
        if not 4 <= cost <= _HIGHEST_COST:
            raise ValueError(f"a bcrypt hash of cost {cost}, and 4 to {_HIGHEST_COST} are taken; {_RENEW}")
        return _Bcrypt(written.encode(), cost)
    if written.startswith(("$apr1$", "$1$")):
        found = _MD5.fullmatch(written)
        if found is None:
            raise ValueError(f"not a whole md5-crypt hash; {_RENEW}")
        return _Md5Crypt(found[1].encode(), found[2].encode(), found[3].encode())
    if written.startswith(("$5$", "$6$")):
        raise ValueError(f"sha256-crypt and sha512-crypt are not in otel-tracead; {_RENEW}")
    if written.startswith(("{SHA}", "{SSHA}")):
        kind, _, encoded = written.partition("}")
        try:
            decoded = b64decode(encoded, validate=True)
        except binascii.Error:
            decoded = b""
        if len(decoded) < _SHA1_SIZE or (kind == "{SHA" and len(decoded) != _SHA1_SIZE):
            raise ValueError(f"not a whole {kind[1:]} hash; {_RENEW}")
        return _Sha1(decoded[:_SHA1_SIZE], decoded[_SHA1_SIZE:])
    return _Plain(written.removeprefix("{PLAIN}").encode())


def _md5_crypt(password: bytes, magic: bytes, salt: bytes) -> bytes:
    """Hash as `openssl passwd -apr1` and `-1` do."""

    def digest(data: bytes) -> bytes:
        return md5(data, usedforsecurity=False).digest()

    size = len(password)
    once = digest(password + salt + password)
    start = password + magic + salt + (once * (size // len(once) + 1))[:size]
    bits = size
    while bits:
        start += b"\0" if bits & 1 else password[:1]
        bits >>= 1
    hashed = digest(start)
    for turn in range(_MD5_ROUNDS):
        odd = turn % 2
        hashed = digest(
            (password if odd else hashed)
            + (salt if turn % 3 else b"")
            + (password if turn % 7 else b"")
            + (hashed if odd else password)
        )
    groups = [(hashed[one], hashed[one + 6], hashed[(one + 12) if one < 4 else 5]) for one in range(5)]
    text = bytearray()
    for first, second, third in groups:
        value = first << 16 | second << 8 | third
        text += bytes(_CRYPT_ALPHABET[value >> shift & 63] for shift in (0, 6, 12, 18))
    last = hashed[11]
    return bytes(text) + bytes((_CRYPT_ALPHABET[last & 63], _CRYPT_ALPHABET[last >> 6]))
