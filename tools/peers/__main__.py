"""`python -m tools.peers install [NAME]...`: install peers into the cache; one that cannot be is named, not an error."""

import argparse
import sys

from tools.peers import Unavailable, h2spec, jaeger, kafka, otelcol, rotel, zipkin

_INSTALLERS = {
    "zipkin": zipkin.install,
    "kafka": kafka.install,
    "rotel": rotel.install,
    "h2spec": h2spec.install,
    "otelcol": otelcol.install,
    "jaeger": jaeger.install,
}


def main() -> int:
    """Install what the command line names, or everything."""
    parser = argparse.ArgumentParser(prog="python -m tools.peers", description=__doc__)
    parser.add_argument("command", choices=["install"])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(_INSTALLERS))
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in _INSTALLERS]
    if unknown:
        parser.error(f"no such peer: {', '.join(unknown)} (there are {', '.join(_INSTALLERS)})")
    for name in arguments.names or _INSTALLERS:
        try:
            _say(f"{name}: {_INSTALLERS[name]()}")
        except Unavailable as missing:
            _say(f"{name}: not installed, its tests will skip: {missing}")
    return 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
