"""Which machine and which program this is."""

from __future__ import annotations

import os
import socket
from importlib.metadata import version
from pathlib import Path


def host_name() -> str:
    """Return the machine's name, for people."""
    return socket.gethostname()


def machine_id() -> str:
    """Return what a process id is valid in: this boot of this kernel, and this namespace of process ids."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:  # no Linux
        return socket.gethostname()


def package_versions() -> dict[str, str]:
    """Return the versions of what a trial's values depend on, read without importing any of it."""
    return {name: version(name) for name in ("caviar", "optuna", "torch", "torchvision", "numpy")}
