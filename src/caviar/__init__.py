"""Hyperparameter search for deep networks, tier by tier, on a shared PostgreSQL.

    >>> import caviar
    >>> from caviar import Log, Study
    >>> study = Study(name="mine", model="mlp", data="digits", epochs=20, budget=40,
    ...               tiers=[{"learning_rate": Log(1e-4, 1, default=0.1)}])
    >>> caviar.run(study, workers=2).winner.hyperparameters

Each command of the command line is one function here, which returns a frozen record or raises a `CaviarError`. A name
is loaded when it is first used (PEP 562): `import caviar` loads neither PyTorch, Optuna nor SQLAlchemy.
"""

import re
from importlib import import_module
from pathlib import Path
from typing import Any

# __init__.pyi lists the names once, where type checkers and editors look for them too.
_STUB = Path(__file__).with_suffix(".pyi").read_text(encoding="utf-8")
_MODULES = {name: module for module, name in re.findall(r"^from (\S+) import (\w+) as", _STUB, re.MULTILINE)}
for _module in re.findall(r"^from (\S+) import \*", _STUB, re.MULTILINE):  # the names in its __all__: every scale
    _source = Path(__file__).parents[1].joinpath(*_module.split(".")).with_suffix(".py").read_text(encoding="utf-8")
    _MODULES |= dict.fromkeys(re.findall(r'"(\w+)"', _source.split("__all__ = [")[1].split("]")[0]), _module)

__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'caviar' has no attribute '{name}'")
    module = import_module(_MODULES[name])
    # A module's namespace may be a module: caviar.panda is caviar.studies.api.panda.
    found = getattr(module, name) if hasattr(module, name) else import_module(f"{module.__name__}.{name}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return __all__
