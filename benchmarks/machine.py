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

RESULTS = Path(__file__).parent / "results"  # summaries, in git
RUNS = Path(__file__).parent / "runs"  # run by run, ignored by git
# What a run has of its single epochs, days, repetitions and tables: left out of a summary.
_OF_SINGLE_RUNS = {"curve", "data", "days", "tables"}


def write(name: str, options: argparse.Namespace, **results: Any) -> None:
    """Write a benchmark's results to runs/ and their summary to results/; those of a short form under another name."""
    given = {n: None if isinstance(value, Path) else value for n, value in vars(options).items()}  # no machine's paths
    write_document(f"{name}{'-short' if options.short else ''}", {"machine": describe(), "options": given, **results})


def write_document(name: str, document: dict[str, Any]) -> None:
    """Write a document to runs/, and its summary, a line for each row, to results/."""
    for folder in (RUNS, RESULTS):
        folder.mkdir(exist_ok=True)
    (RUNS / f"{name}.json").write_text(json.dumps(document, indent=1) + "\n")
    lines = [f' "{key}": {_line(summarized(value))}' for key, value in document.items()]
    (RESULTS / f"{name}.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


def summarized(value: Any) -> Any:
    """Return a value without its single runs."""
    if isinstance(value, dict):
        return {key: summarized(part) for key, part in value.items() if key not in _OF_SINGLE_RUNS}
    return [summarized(part) for part in value] if isinstance(value, list | tuple) else value


def _line(value: Any) -> str:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return "[\n" + ",\n".join(f"  {json.dumps(row)}" for row in value) + "\n ]"
    return json.dumps(value)


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
