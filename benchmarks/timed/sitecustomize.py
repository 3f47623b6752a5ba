"""Measure what a worker asks of the database, in every Python process whose PYTHONPATH names this folder.

Python imports this module at the start of each process, before anything of Caviar: when Caviar's modules come, the
calls below are wrapped. Each writes its name, its moment and its seconds to a file of its process in TIMED_FOLDER.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from functools import wraps
from importlib.abc import MetaPathFinder
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

CALLS = {
    "caviar.storage.ledger": ("Ledger", {"lease": "lease", "renew": "renew", "standing": "standing"}),
    "caviar.storage.trials": ("TrialLog", {"begin": "begin", "record": "record", "finish": "finish"}),
    "caviar.storage.history": ("History", {"refresh": "look"}),
    "caviar.storage.snapshot": (None, {"read_snapshot": "snapshot"}),
}


def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def measured(*arguments: Any, **named: Any) -> Any:
        started, ok = time.monotonic(), False
        try:
            found = function(*arguments, **named)
            ok = name != "lease" or found is not None  # one that found nothing is counted apart
            return found
        finally:
            seconds = time.monotonic() - started
            line = f"{name if ok else f'{name} in vain'} {started:.3f} {seconds:.6f}\n"
            with (Path(os.environ["TIMED_FOLDER"]) / str(os.getpid())).open("a") as file:
                file.write(line)

    return measured


class Finder(MetaPathFinder):
    """Wraps calls of Caviar's modules after they are loaded."""

    def find_spec(self, name: str, *_: Any) -> Any:
        if name not in CALLS:
            return None
        sys.meta_path.remove(self)
        try:
            spec = find_spec(name)
        finally:
            sys.meta_path.insert(0, self)
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                load(module)
                owner_name, calls = CALLS[name]
                owner = module if owner_name is None else getattr(module, owner_name)
                for attribute, label in calls.items():
                    setattr(owner, attribute, timed(label, getattr(owner, attribute)))

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


if "TIMED_FOLDER" in os.environ:
    sys.meta_path.insert(0, Finder())
