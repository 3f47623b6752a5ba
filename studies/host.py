"""Which machine and which program this is."""

from __future__ import annotations

import socket
from importlib.metadata import version


def host_name() -> str:
    """Return the machine's name, for people."""
    return socket.gethostname()


def package_versions() -> dict[str, str]:
    """Return the versions of what a trial's values depend on, read without importing any of it."""
    return {name: version(name) for name in ("caviar", "optuna", "torch", "torchvision", "numpy")}
