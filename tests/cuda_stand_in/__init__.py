"""CUDA where there is none: ONNX Runtime's own CUDA provider, of the installed wheel, on libraries that compute nothing.

What it decides by itself is real: which nodes it takes, which copies it puts in, what it allocates, when it waits and
what it says when the device fails. What kernels would compute is not: outputs are 0.
"""

import re
import shutil
import subprocess
from pathlib import Path

SOURCE = Path(__file__).parent / "libraries.c"
UNVERSIONED = ("libcuda.so.1", "libcurand.so.10", "libcudnn.so.9")
"""What the provider needs beside the libraries whose names stand in its symbols."""


def unavailable() -> str:
    """Say why it cannot be built here, if so."""
    if shutil.which("gcc") is None or shutil.which("nm") is None:
        return "needs gcc and nm"
    return "" if _provider().is_file() else "this onnxruntime is built without CUDA"


def build(folder: Path) -> Path:
    """Build the libraries into *folder*, which then belongs on LD_LIBRARY_PATH; gives it."""
    folder.mkdir(parents=True, exist_ok=True)
    source = SOURCE.read_text()
    symbols = [
        line.split()[-1] for line in _output("nm", "--dynamic", "--undefined-only", str(_provider())).splitlines()
    ]
    versions = {symbol: symbol.partition("@")[2] for symbol in symbols if "@libcu" in symbol}
    names = {symbol.partition("@")[0] for symbol in versions} | {
        name for name in symbols if name.startswith("cuTensor")
    }
    names -= set(re.findall(r"\w+", source))
    rest = "\n".join(f"long {name}(void) {{ return 0; }}" for name in sorted(names))
    whole = folder / "whole.c"
    whole.write_text(f"{source}\n{rest}\n")
    made = folder / "libstandin.so"
    _output("gcc", "-O1", "-w", "-shared", "-fPIC", "-o", str(made), str(whole))
    # Links: the loader takes them all for the one library that they are.
    for name in {*UNVERSIONED, *versions.values()}:
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(made.name)
    return folder


def _provider() -> Path:
    import onnxruntime

    return Path(onnxruntime.__file__).parent / "capi" / "libonnxruntime_providers_cuda.so"


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
