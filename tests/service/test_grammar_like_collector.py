"""References, defaults, escapes and types: the same YAML through the real Collector's `print-config` and through ours."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from otel_tracead.component import Kind
from otel_tracead.errors import ConfigError
from otel_tracead.service.config import decode
from otel_tracead.service.ids import Id
from otel_tracead.service.registry import Registry
from otel_tracead.service.uris import Sources
from tests.service.test_collector_configurations import FILES
from tools.peers import Unavailable
from tools.peers.otelcol import binary

ENV = {
    "STR": "text",
    "NUM": "0123",
    "INT": "12",
    "EMPTY": "",
    "BOOL": "true",
    "LIST": "[a, b]",
    "REF": "${env:STR}",
    "DOLLAR": "a$$b",
    "BARE": "$STR",
    "NULL": "null",
    "FLOAT": "1.50",
    "QUOTED": '"q"',
    "MAP": "{a: b}",
    "COLON": "a: b",
    "NESTED": "STR",
    "LINES": "a\nb",
    "DATE": "2024-01-02",
    "YES": "yes",
    "HASH": "a #b",
    "SPACE": " s ",
}
TEXTS = [
    *("${env:STR}", "${STR}", "${env:NUM}", "${env:INT}", "${env:EMPTY}", "${env:UNSET}", "${env:BOOL}", "${env:LIST}"),
    *("${env:UNSET:-d}", "${env:EMPTY:-d}", "${env:UNSET:-}", "${env:UNSET:-${env:STR}}", "${env:UNSET:-a:b}"),
    *("${env:UNSET:-5}", "${env:UNSET:-[a]}", "${env:UNSET:-null}"),
    *("${env:REF}", "${env:DOLLAR}", "${env:BARE}", "$$STR", "$STR", "$${env:STR}", "$$${env:STR}", "$$$${env:STR}"),
    *("pre-${env:NUM}-post", "pre-${env:UNSET}-post", "pre${env:EMPTY}post", "a${env:LIST}b", "${env:INT}${env:INT}"),
    *("${env:NULL}", "${env:FLOAT}", "${env:QUOTED}", "${env:MAP}", "${env:COLON}", "${env:${env:NESTED}}"),
    *("${env:LINES}", "${env:DATE}", "${env:YES}", "${env:HASH}", "${env:SPACE}", "${yaml:hello}", "${yaml:5}"),
    *("${", "$", "$$", "a$", "${env:STR", "${env:STR}}", "'${env:NUM}'", '"a\\n"'),
]
REFUSED = [
    "${}",
    "}${env:STR}",
    "${env:BAD-NAME}",
    "${env:1X}",
    "${nope:x}",
    "${file:/nonexistent}",
    "${http://a/b}",
    "5",
    "true",
    "0123",
    "1e3",
]
MORE = ["${env:UNSET:-$$x}", "${UNSET:-x y}", "${STR:-x}"]
"""What the Collector refuses and we take: a dollar in a default, a default without the scheme."""

COUNTS = ["${env:INT}", "${env:NUM}", "0x1F", "1_000", "0o17", "017", "+5", "${env:UNSET:-7}"]
PIPELINE = {"receivers": ["otlp"], "exporters": ["otlp_http"]}
AROUND = "receivers: {otlp: {protocols: {grpc: }}}\nservice: {pipelines: {traces: " + json.dumps(PIPELINE) + "}}\n"


@pytest.fixture(scope="module")
def collector() -> Path:
    try:
        return binary()
    except Unavailable as missing:
        pytest.skip(str(missing))


def written(texts: list[str], counts: list[str]) -> str:
    """Give a configuration with an exporter for each text (as a header), and for each count."""
    exporters = ["  otlp_http: {endpoint: 'http://a:1'}"]
    exporters += [
        f"  otlp_http/{n}:\n    endpoint: http://a:1\n    headers:\n      x: {t}" for n, t in enumerate(texts)
    ]
    exporters += [f"  debug/{n}:\n    sampling_initial: {count}" for n, count in enumerate(counts)]
    return AROUND + "exporters:\n" + "\n".join(exporters) + "\n"


def theirs(binary: Path, path: Path) -> dict[str, Any] | None:
    command = [str(binary), "print-config", "--mode", "unredacted", "--format", "json", "--config", str(path)]
    done = subprocess.run(
        command, env={**ENV, "PATH": os.environ["PATH"]}, capture_output=True, text=True, check=False, timeout=60
    )
    return None if done.returncode else json.loads(done.stdout)["exporters"]


def ours(path: Path) -> dict[Id, Any] | None:
    try:
        config = decode(Sources([str(path)], variables=ENV).load(lambda _warning: None), Registry(), path.parent)
    except ConfigError:
        return None
    return {id_: found.config for id_, found in config.components[Kind.EXPORTER].items()}


def test_texts_and_numbers_come_out_the_same(collector: Path, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(written(TEXTS, COUNTS), encoding="utf-8")
    given, found = theirs(collector, path), ours(path)
    assert given is not None
    assert found is not None
    for number, text in enumerate(TEXTS):
        (header,) = given[f"otlp_http/{number}"]["headers"]
        assert found[Id("otlp_http", str(number))].headers["x"].get_secret_value() == header["value"], text
    for number, count in enumerate(COUNTS):
        assert found[Id("debug", str(number))].sampling_initial == given[f"debug/{number}"]["sampling_initial"], count


@pytest.mark.parametrize("text", [*REFUSED, *MORE])
def test_what_one_refuses_the_other_does(collector: Path, tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(written([text], []), encoding="utf-8")
    assert theirs(collector, path) is None
    assert (ours(path) is None) == (text not in MORE)


@pytest.mark.parametrize(
    "path",
    FILES,
    ids=lambda path: path.stem,
)
def test_the_keys_of_our_files_are_the_collectors(collector: Path, tmp_path: Path, path: Path) -> None:
    """What a file of testdata says of components that are there must be right for the Collector, too."""
    there = {"otlp", "batch", "memory_limiter", "otlp_grpc", "otlp_http", "debug", "file", "health_check"}
    there |= {"bearertokenauth", "file_storage", "tail_sampling"}  # and the zipkin receiver; its exporter is not built
    tree = json.loads(json.dumps(Sources([str(path)], variables={}).load(lambda _warning: None), default=str))
    kept = {
        kind: {
            id_: body
            for id_, body in tree.get(kind, {}).items()
            if id_.split("/")[0] in there or (kind == "receivers" and id_.startswith("zipkin"))
        }
        for kind in ("receivers", "processors", "exporters", "extensions")
    }
    pipeline = {"receivers": sorted(kept["receivers"]), "exporters": sorted(kept["exporters"])}
    kept["service"] = {"pipelines": {"traces": pipeline}}  # type: ignore[assignment]
    (tmp_path / "config.yaml").write_text(json.dumps(kept), encoding="utf-8")
    command = [str(collector), "print-config", "--validate=false", "--config", str(tmp_path / "config.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
