"""h2spec, which plays a client that breaks the rules of HTTP/2 one after the other, built from the Go module proxy."""

import xml.etree.ElementTree as ET
from pathlib import Path

from tools.peers.cache import Built, execute
from tools.peers.process import HOST, Unavailable

VERSION = "2.2.1"
_COMMAND = "github.com/summerwind/h2spec/cmd/h2spec"
_PATIENCE = 2  # seconds for each answer
_BUILT = Built("h2spec", VERSION, "1 minute")

binary = _BUILT.binary


def install() -> Path:
    """Build it unless it is there.

    Raises:
        Unavailable: no Go, or the build fails.
    """

    def build(folder: Path) -> Path:
        # The later v2 tags are no Go modules (their module path has no /v2).
        execute(["go", "install", f"{_COMMAND}@v{VERSION}+incompatible"], cwd=folder, env={"GOBIN": str(folder)})
        return folder / "h2spec"

    return _BUILT.install(build)


def failures(port: int, path: str, report: Path) -> tuple[int, dict[str, str]]:
    """Try every rule on the server at *port* of 127.0.0.1.

    Args:
        port: where it listens, without TLS.
        path: of the requests, most of which are `GET`.
        report: the file that h2spec writes what it found into.

    Returns:
        how many rules were tried; and of each that is broken "section: what was done" and what came instead of what.

    Raises:
        Unavailable: h2spec is not built, or ended without having tried anything.
    """
    target = ["-h", HOST, "-p", str(port), "-P", path]
    try:
        execute([binary(), *target, "-o", str(_PATIENCE), "-j", report], cwd=report.parent)
    except Unavailable:  # it ends so when a rule is broken, too
        if not report.exists():
            raise
    tried, broken = 0, {}
    for case in ET.fromstring(report.read_bytes()).iter("testcase"):  # noqa: S314 (a program of ours wrote it)
        fault = case.find("error") if case.find("error") is not None else case.find("failure")
        tried += case.find("skipped") is None
        if fault is not None:
            broken[f"{case.get('package')}: {case.get('classname')}"] = fault.text or ""
    return tried, broken
