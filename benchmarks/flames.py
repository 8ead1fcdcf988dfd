"""`python -m benchmarks.flames`: where the CPU time of a stage goes, as flame graphs by py-spy under docs/results/flames.

A stage under a steady load is sampled from outside, native frames included. Needs the right to look into a process (root, or
`kernel.yama.ptrace_scope` 0). What a picture would say of this machine is taken out.
"""

import re
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import click

from benchmarks import report
from benchmarks.cpu_per_span import packed
from benchmarks.measure import Load, standing
from benchmarks.spans import source
from benchmarks.systems import SYSTEMS, named

_MOST_BYTES: Final = 300_000
_WARM: Final = 2.0  # seconds before the first sample
_FRAME: Final = re.compile(
    r'<g><title>(?P<title>[^<]*)</title><rect[^>]*width="(?P<width>[\d.]+)%"[^>]*/><text.*?</text></g>'
)
_ADDRESS: Final = re.compile(r"0x[0-9a-f]+ \((?:[^()/]*/)*([^()/]*)\)")  # a native frame without a name
_TITLE: Final = re.compile(r'(<text id="title"[^>]*>)[^<]*')
_PLACE: Final = re.compile(r"(?<![\w.])/(?:[\w.+@-]+/)+([\w.+@-]+)")  # an absolute path: its last part stays


def clean(svg: str, title: str, narrowest: float = 0.0) -> str:
    """Give a flame graph a title of its own, and take out paths, addresses and frames narrower than *narrowest* per cent."""

    def frame(found: re.Match[str]) -> str:
        if float(found["width"]) < narrowest:
            return ""
        return _ADDRESS.sub(r"\1", found[0])

    head, mark, frames = svg.partition('<svg id="frames"')
    return _TITLE.sub(rf"\g<1>{title}", head) + mark + _FRAME.sub(frame, _PLACE.sub(r"\1", frames))


def fitted(svg: str, title: str) -> str:
    """Clean a flame graph, and leave out its narrowest frames until it is small enough to be kept."""
    narrowest = 0.05
    while len((cleaned := clean(svg, title, narrowest)).encode()) > _MOST_BYTES:
        narrowest *= 1.5
    return cleaned


def record(load: Load, system: str, model: Path, folder: Path, hertz: int) -> str:
    """Sample *system* under *load*, and give the picture as py-spy draws it.

    Raises:
        RuntimeError: py-spy failed.
    """
    picture = folder / "flame.svg"
    with standing(named(system), model, folder) as stand, stand.sending(load, load.seconds + 2 * _WARM):
        while not stand.received():
            time.sleep(0.05)
        time.sleep(_WARM)
        what = ["--pid", str(stand.process.pid), "--rate", str(hertz), "--duration", str(int(load.seconds))]
        command = ["py-spy", "record", "--native", "--format", "flamegraph", "--output", str(picture)]
        program = Path(sys.executable).parent / command[0]
        done = subprocess.run([str(program), *command[1:], *what], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"py-spy failed: {done.stderr.strip()}")
    return picture.read_text()


@click.command(context_settings={"show_default": True})
@click.option(
    "--system",
    "systems",
    multiple=True,
    type=click.Choice([one.name for one in SYSTEMS if one.name.startswith("tracead")]),
    default=["tracead", "tracead-plumbing"],
)
@click.option("--rate", type=float, default=50_000, help="spans a second")
@click.option("--per-request", "sizes", multiple=True, type=int, default=[512, 50], help="spans a request")
@click.option("--seconds", type=float, default=8)
@click.option("--hertz", type=int, default=100, help="samples a second")
@click.option("--output", type=click.Path(path_type=Path), default=report.RESULTS / "flames", help="a folder")
def main(
    systems: tuple[str, ...], rate: float, sizes: tuple[int, ...], seconds: float, hertz: int, output: Path
) -> None:
    """Draw SYSTEM-SIZE.svg for each system and size of a request."""
    origin = source()
    output.mkdir(parents=True, exist_ok=True)
    for system in systems:
        with TemporaryDirectory(prefix="otel-tracead-bench-") as temporary:
            folder = Path(temporary)
            files = packed(origin, 60_000, sizes, named(system).takes, folder)
            for size in sizes:
                load = Load(traffic=files[size][0], spans_per_request=size, rate=rate, seconds=seconds, warm_up=_WARM)
                title = f"{system}, {size} spans a request, {rate:,.0f} spans a second, commit {report.commit()}"
                place = output / f"{system}-{size}.svg"
                place.write_text(fitted(record(load, system, origin.model, folder, hertz), title))
                click.echo(f"{place.name}: {place.stat().st_size / 1000:.0f} kB", err=True)


if __name__ == "__main__":
    main()
