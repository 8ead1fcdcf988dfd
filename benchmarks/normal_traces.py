"""Write the normal traces of a real system to one file: what `evaluate` is given. `python -m benchmarks.normal_traces --help`.

Files of minutes cannot be given as they are: an injection can lie inside of one.
"""

import argparse
from pathlib import Path

import numpy as np

from benchmarks.targets.traffic import NORMAL, SYSTEMS, folder, minutes
from otel_tracead.wire.batch import group
from otel_tracead.wire.file_writer import TraceFileWriter


def main() -> None:
    """Read and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.normal_traces", description=__doc__)
    parser.add_argument("system", choices=SYSTEMS)
    parser.add_argument("output", type=Path, help="a file named *.jsonl.zst, say")
    arguments = parser.parse_args()
    if not folder().is_dir():
        parser.exit(1, f"there are no real traces under {folder()}; set TRACEAD_DATA\n")
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with TraceFileWriter(arguments.output) as file:
        for minute in minutes(arguments.system):
            traces = [minute.traces[one] for one in np.flatnonzero(minute.state == NORMAL).tolist()]
            for trace in traces:
                file.write(group(trace.envelopes, trace.spans))
            written += len(traces)
    print(f"{written} normal traces in {arguments.output}")


if __name__ == "__main__":
    main()
