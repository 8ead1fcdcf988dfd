"""The text of a configuration, up to the validated whole, with references to the environment."""

import random
import re
from functools import cache
from pathlib import Path
from typing import Any, Final

from fuzz import mutation
from fuzz.target import Finding, Target
from otel_tracead.errors import ConfigError
from otel_tracead.service import config
from otel_tracead.service.registry import Registry
from otel_tracead.service.uris import Sources
from otel_tracead.service.yaml_text import load_yaml

_ROOT: Final = Path(__file__).parents[2]
_VARIABLES: Final = {
    "A": "a",
    "NUMBER": "0123",
    "LIST": "[1, 2]",
    "MAP": "{endpoint: localhost:1}",
    "AGAIN": "${env:AGAIN}${env:AGAIN}",
    "TWICE": "${env:A}${env:NUMBER}",
    "EMPTY": "",
    "BAD": "{",
}
_PIECES: Final = (
    *("${env:A}", "${env:AGAIN}", "${env:MAP}", "${NUMBER}", "${X:-d}", "$$", "${", "}", "::", "<<: *a", "&a ", "*a"),
    *("!!python/object:os.system", "!!binary", "!!set", "? ", "- ", "[", "]", "{", "}", ": ", "\n", "\n  ", "#", "|\n"),
    *("0x1f", "0o17", "1e400", ".inf", "-.nan", "9" * 70, "1h1m", "100MiB", "localhost:4317", "\u2028", "\x00", "\ufeff"),
    *("null", "true", "yaml:a: b", "---\n", "...\n", "%YAML 1.1\n", "'", '"', "\\x41", "\t"),
)  # fmt: skip


@cache
def _registry() -> Registry:
    return Registry()


def _run(data: bytes) -> None:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return
    if "file" in text:  # what a path means is the machine's business
        return
    _yaml_is_plain(text)
    try:
        tree = Sources(uris=[f"yaml:{text}"], variables=_VARIABLES).load(lambda _: None)
        config.decode(tree, _registry(), _ROOT)
    except ConfigError as error:
        if not error.problems or not all(error.problems):
            raise


def _yaml_is_plain(text: str) -> None:
    """See that nothing comes out of YAML but plain data of a bounded size."""
    try:
        waiting: list[Any] = [load_yaml(text, "text")]
    except ConfigError:
        return
    count = 0
    while waiting:
        one = waiting.pop()
        count += 1
        if count > 200_000:
            raise Finding("more nodes than any configuration has")
        if type(one) is dict:
            if not all(type(key) is str for key in one):
                raise Finding("a key that is no text")
            waiting += one.values()
        elif type(one) is list:
            waiting += one
        elif type(one) not in (str, int, float, bool, type(None)):
            raise Finding(f"{type(one).__name__} came out of YAML")


def _mutate(data: bytes, choice: random.Random) -> bytes:
    text = data.decode("utf-8", "replace")
    words = [found.span() for found in re.finditer(r"[^\s:,\[\]{}]+", text)] or [(0, 0)]
    for _ in range(choice.choice((1, 1, 2))):
        start, end = choice.choice(words)
        match choice.randrange(6):
            case 0:
                text = text[:start] + choice.choice(_PIECES) + text[end:]
            case 1:
                text = text[:start] + choice.choice(_PIECES) + text[start:]
            case 2:
                other = choice.choice(words)
                text = text[:start] + text[slice(*other)] + text[end:]
            case 3:
                lines = text.split("\n")
                at = choice.randrange(len(lines))
                lines.insert(choice.randrange(len(lines) + 1), lines[at])
                text = "\n".join(lines)
            case 4:
                lines = text.split("\n")
                del lines[choice.randrange(len(lines))]
                text = "\n".join(lines)
            case _:
                text = mutation.any_bytes(text.encode("utf-8", "replace"), choice).decode("utf-8", "replace")
    return text.encode("utf-8", "replace")


def _seeds() -> list[bytes]:
    yamls = sorted((_ROOT / "tests" / "service" / "testdata").glob("*.yaml"))
    example = (
        b"receivers:\n  otlp:\n    protocols: &a\n      grpc: {endpoint: '${env:A}:${NUMBER}'}\n      http: {<<: *a}\n"
        b"processors:\n  tracead: {model: m, detection: {top_k: 3}}\n  batch: {timeout: 1s}\n"
        b"exporters:\n  debug: ${env:MAP}\nservice:\n  pipelines:\n    traces: {receivers: [otlp], "
        b"processors: [tracead, batch], exporters: [debug]}\n  telemetry: {logs: {level: debug}}\n"
    )
    bomb = b"a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + b"".join(
        b"%c: &%c [%b]\n" % (name, name, b", ".join([b"*%c" % (name - 1)] * 10)) for name in b"bcdefghi"
    )
    return [
        example,
        bomb,
        b"a: &a {b: *a}",
        *(text for path in yamls if b"file" not in (text := path.read_bytes()) and len(text) < 2048),
    ]


CONFIGURATION: Final = Target(
    name="configuration",
    what="YAML with references, up to the validated configuration",
    run=_run,
    seeds=_seeds,
    mutate=_mutate,
    instrumented=("otel_tracead.service",),
)
