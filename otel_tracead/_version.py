"""The version of the package, read from its installed metadata."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("otel-tracead")
except PackageNotFoundError:  # a bare checkout on the path
    __version__ = "0.0.0"
