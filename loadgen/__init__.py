"""loadgen: a load tester for the device handshake of Particle P1 clouds."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("loadgen")
except PackageNotFoundError:  # run from a source tree that was never installed
    __version__ = "0+unknown"

__all__ = ["__version__"]
