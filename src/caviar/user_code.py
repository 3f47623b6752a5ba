"""Classes and functions that a study names by a path, `package.module:name`: imported, or only looked for.

And the line of such code that called Caviar.
"""

from __future__ import annotations

import sys
import sysconfig
from importlib import import_module
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

from caviar.foreign_code import IN_A_MODULE, no_exit, reason_of
from caviar.suggestions import did_you_mean

INSTALLED = frozenset({"site-packages", "dist-packages"})  # the folders of packages that pip has installed
STANDARD = sysconfig.get_path("stdlib")
_OTHERS = (str(Path(__file__).parent), STANDARD)  # the folders of Caviar and of Python


class NotThere(Exception):
    """Nothing can be imported from a path; the message says why, and what to do if its module is missing."""


def load_object(path: str) -> Any:
    """Import the module of a path, which runs its code, and return what has the name there.

    Raises:
        NotThere: there is no such module or name, or the module's code raises.
    """
    module, _, name = path.partition(":")
    try:
        with no_exit(IN_A_MODULE):
            imported = import_module(module)
            if not hasattr(imported, name):
                raise NotThere(f"{module} has no {name}; {did_you_mean(name, vars(imported))}it is {_place(imported)}")
            return getattr(imported, name)
    except NotThere:
        raise
    except Exception as error:
        missing = isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}.")
        raise NotThere(f"{reason_of(error)}{_step(module) if missing else ''}") from error


def file_of(path: str) -> Path | None:
    """Return the file of a path's module, of which nothing is run; None for a module that is in no file.

    Raises:
        NotThere: there is no such module.
    """
    module = path.partition(":")[0]
    if module in sys.modules:
        file = getattr(sys.modules[module], "__file__", None)
    else:
        spec = _spec(module)
        if spec is None:
            raise NotThere(f"there is no module {module}{_step(module)}")
        file = spec.origin
    return Path(file) if file else None


def _spec(module: str) -> ModuleSpec | None:
    """Find a module as Python would. `importlib.util.find_spec` would import the packages that it is in."""
    first, *others = module.split(".")
    finders = [finder for finder in sys.meta_path if hasattr(finder, "find_spec")]
    found = next((spec for finder in finders if (spec := finder.find_spec(first, None)) is not None), None)
    for name in others:  # by its last part: a folder without an __init__.py would look for its parent among the loaded
        if found is None or found.submodule_search_locations is None:
            return None
        found = PathFinder.find_spec(name, list(found.submodule_search_locations))
    return found


def is_of_user(file: str) -> bool:
    """Return whether a file is of the user's own code, and not of a package, of Python, or of Caviar."""
    return not file.startswith(_OTHERS) and INSTALLED.isdisjoint(Path(file).parts)


def calling_line() -> str:
    """Return the file and line, as `tune.py:12`, of the user's own code that called Caviar, directly or by a framework.

    It is that of an installed package where there is no code of the user's own.
    """
    nearest = ""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if not str(frame.f_globals.get("__name__", "")).startswith("caviar."):
            file = frame.f_code.co_filename
            nearest = nearest or f"{file}:{frame.f_lineno}"
            if is_of_user(file):
                return f"{file}:{frame.f_lineno}"
        frame = frame.f_back
    return nearest


def _place(imported: ModuleType) -> str:
    return str(getattr(imported, "__file__", None) or "built into Python")


def _step(module: str) -> str:
    return f"; give the command in the folder that has {module.split('.', maxsplit=1)[0]}"
