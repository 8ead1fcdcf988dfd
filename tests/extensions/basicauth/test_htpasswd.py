"""What Apache writes, and what becomes of it: `openssl passwd` is the other opinion on md5-crypt."""

import base64
import hashlib
import subprocess

import bcrypt
import pytest

from otel_tracead.extensions.basicauth.htpasswd import Users, parse

HASHED = bcrypt.hashpw(b"secret", b"$2b$04$abcdefghijklmnopqrstuu").decode()


def takes(written: str, password: str) -> bool:
    return Users(parse(f"me:{written}")).admit(b"me", password.encode())


@pytest.mark.parametrize("kind", ["-apr1", "-1"])
@pytest.mark.parametrize(
    "password", ["x", "secret", "a longer one, of more than 16 bytes", "mit Umläuten: äöü€", "7" * 64]
)
def test_md5_crypt_is_openssls(kind: str, password: str) -> None:
    command = ["openssl", "passwd", kind, "-stdin"]
    done = subprocess.run(command, input=password, capture_output=True, text=True, check=True)
    assert takes(done.stdout.strip(), password)
    assert not takes(done.stdout.strip(), password + "x")
    assert not takes(done.stdout.strip(), "")


def test_every_other_kind() -> None:
    sha = base64.b64encode(hashlib.sha1(b"secret").digest()).decode()
    ssha = base64.b64encode(hashlib.sha1(b"secretsalt").digest() + b"salt").decode()
    kinds = [HASHED, *(HASHED.replace("$2b$", f"$2{letter}$") for letter in "axy"), f"{{SHA}}{sha}", f"{{SSHA}}{ssha}"]
    kinds += ["secret", "{PLAIN}secret"]
    for written in kinds:
        assert takes(written, "secret"), written
        assert not takes(written, "secre"), written
        assert not takes(written, "secrets"), written
        assert written == "secret" or not takes(written, written), written


def test_bcrypt_reads_72_bytes_and_more_are_no_error() -> None:
    hashed = bcrypt.hashpw(b"x" * 72, bcrypt.gensalt(4)).decode()
    assert takes(hashed, "x" * 100)
    assert not takes(hashed, "x" * 71)
    assert not takes(hashed, "x" * 71 + "\0")


def test_comments_blank_lines_and_names_that_stand_twice() -> None:
    users = Users(parse("# who may come\n\n a:one:with:colons \r\nb:two\nb:three\n"))
    assert len(users) == 2
    assert users.admit(b"a", b"one:with:colons")
    assert users.admit(b"b", b"three")
    assert not users.admit(b"b", b"two")
    assert not users.admit(b"c", b"three")


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("hunter2", "write name:password"),
        (":", "write name:password"),  # what is left of `${env:USER}:${env:PASSWORD}` where neither is set
        (":hunter2", "write name:password"),
        ("me:", "write name:password"),
        ("me:$2y$10$hunter2", "not a whole bcrypt hash"),
        (f"me:{HASHED.replace('$04$', '$18$')}", "cost 18"),
        ("me:$apr1$hunter2", "not a whole md5-crypt hash"),
        ("me:$6$salt$hunter2", "not in otel-tracead"),
        ("me:$5$rounds=5000$salt$hunter2", "not in otel-tracead"),
        ("me:{SHA}hunter2", "not a whole SHA hash"),
        ("me:{SSHA}aHVudGVyMg==", "not a whole SSHA hash"),
    ],
)
def test_what_is_no_line_is_said_without_its_content(line: str, word: str) -> None:
    with pytest.raises(ValueError, match=word) as caught:
        parse(f"you:fine\n{line}\n")
    assert str(caught.value).startswith("line 2: ")
    assert "hunter2" not in str(caught.value)


class Counting:
    def __init__(self, rank: int) -> None:
        self.rank = rank
        self.looks = 0

    def matches(self, password: bytes) -> bool:
        self.looks += 1
        return password == b"right"


@pytest.mark.parametrize(
    ("name", "password"), [(b"a", b"wrong"), (b"b", b"wrong"), (b"nobody", b"wrong"), (b"nobody", b"right")]
)
def test_who_is_not_there_takes_as_long_as_a_wrong_password(name: bytes, password: bytes) -> None:
    cheap, dear = Counting(1), Counting(14)
    assert not Users({b"a": cheap, b"b": dear}).admit(name, password)
    assert dear.looks == 1
