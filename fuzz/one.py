"""Fuzzes one target with atheris, in a process of its own: `python -m fuzz.one NAME [libFuzzer's options and folders]`."""

import sys
from random import Random

import atheris

from fuzz import targets
from fuzz.targets import MODULES

_BY_ITSELF = 0.4  # of the inputs are changed by libFuzzer, which follows coverage and comparisons


def main() -> None:
    """Fuzz the target that the first argument names until libFuzzer ends."""
    name = sys.argv[1]
    instrumented = _instrumented(name)
    with atheris.instrument_imports(include=instrumented, enable_loader_override=False):
        target = targets.find(name)
    mutate = target.mutate

    def mutated(data: bytes, most: int, seed: int) -> bytes:
        random = Random(seed)
        if random.random() < _BY_ITSELF:
            return bytes(atheris.Mutate(data, most))
        changed = mutate(data, random)
        return changed if len(changed) <= most else bytes(atheris.Mutate(data, most))

    atheris.Setup([sys.argv[0], *sys.argv[2:]], target.check, custom_mutator=mutated)
    atheris.Fuzz()


def _instrumented(name: str) -> list[str]:
    """Say which packages lead the fuzzer; asked of another process, for here nothing may be imported before."""
    import subprocess

    ask = f"from fuzz import targets; print(*targets.find({name!r}).instrumented)"
    return subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True).stdout.split()


if __name__ == "__main__":
    if sys.argv[1:2] == [] or sys.argv[1] not in MODULES:
        sys.exit(f"one of these: {', '.join(MODULES)}")
    main()
