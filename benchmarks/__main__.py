"""`python -m benchmarks [PART]...`: run the parts one after another, then hold what they wrote against the targets."""

import subprocess
import sys
import time
from typing import Final

import click

PARTS: Final = {
    "otlp": ("cpu_per_span",),
    "zipkin": ("cpu_per_span", "--takes", "zipkin", "--rate", "50000"),
    "zipkin-slower": (
        "cpu_per_span",
        *("--takes", "zipkin", "--rate", "25000", "--per-request", "50", "--repeats", "5"),
        *("--output", "docs/results/cpu-per-span-zipkin-25000"),
    ),
    "latency": ("latency",),
    "growth": ("growth",),
    "memory": ("memory", "--spans", "60000", "--seconds", "20"),
    "start": ("startup",),
    "several": ("several_processes",),
    "network": ("network",),
    "offline": ("offline", "--repeats", "2"),
}
"""Each part and its command, `python -m benchmarks.…`."""


@click.command()
@click.argument("parts", nargs=-1, type=click.Choice(list(PARTS)))
def main(parts: tuple[str, ...]) -> None:
    """Measure; each part writes to docs/results/. Takes about half an hour without PARTS."""
    failed = []
    begun = time.monotonic()
    wanted = parts or tuple(PARTS)
    for number, part in enumerate(wanted, 1):
        module, *arguments = PARTS[part]
        click.echo(f"== {part} ({number} of {len(wanted)}, after {(time.monotonic() - begun) / 60:.0f} min)", err=True)
        done = subprocess.run([sys.executable, "-m", f"benchmarks.{module}", *arguments], check=False)
        if done.returncode != 0:
            failed.append(part)
    subprocess.run([sys.executable, "-m", "benchmarks.summary"], check=False)
    if failed:
        raise click.ClickException(f"these parts failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
