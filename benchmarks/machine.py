"""What a figure was measured on, and where it is kept."""

from __future__ import annotations

import argparse
import json
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

RESULTS = Path(__file__).parent / "results"


def write(name: str, options: argparse.Namespace, **results: Any) -> None:
    """Write a benchmark's results; those of a short form beside the README's, not over them."""
    given = {n: None if isinstance(value, Path) else value for n, value in vars(options).items()}  # no machine's paths
    RESULTS.mkdir(exist_ok=True)
    document = {"machine": describe(), "options": given, **results}
    path = RESULTS / f"{name}{'-short' if options.short else ''}.json"
    path.write_text(json.dumps(document, indent=1) + "\n")


def describe() -> dict[str, object]:
    """Return processor, cores, GPU, system and the versions of what the figures depend on."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in ("caviar", "optuna", "torch", "numpy", "sqlalchemy")},
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()
