"""Certificates made on the spot."""

import subprocess
from pathlib import Path


def make(folder: Path, name: str, *, days: int = 2) -> dict[str, str]:
    """Make a certificate for this machine; give what a `tls` section says of it."""
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-keyout", f"{name}.key", "-out", f"{name}.pem", "-days", str(days), "-subj", f"/CN={name}"),
            *("-addext", "subjectAltName=DNS:localhost,DNS:other.test,IP:127.0.0.1"),
        ],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    return {"cert_file": str(folder / f"{name}.pem"), "key_file": str(folder / f"{name}.key")}


def expire(folder: Path, name: str) -> None:
    """Sign the certificate that `make` made again, for no time at all."""
    subprocess.run(
        [*("openssl", "x509", "-in", f"{name}.pem", "-signkey", f"{name}.key", "-days", "0", "-out", f"{name}.pem")],
        cwd=folder,
        check=True,
        capture_output=True,
    )
