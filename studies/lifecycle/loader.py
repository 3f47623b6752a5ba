"""Load a study by a name in the catalog, a path to a .py file with a `STUDY`, or `package.module:NAME`."""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from contextvars import ContextVar
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from pydantic import ValidationError

from caviar.studies import catalog
from caviar.studies.definition import Study, from_body
from caviar.studies.errors import DefinitionError, UnknownStudy
from caviar.studies.space.base import first_problem
from caviar.studies.space.scales import __all__ as SCALE_NAMES
from caviar.suggestions import did_you_mean

if TYPE_CHECKING:
    from sqlalchemy import Engine


_importing: ContextVar[bool] = ContextVar("importing", default=False)


@contextmanager
def importing_project() -> Iterator[None]:
    """Mark that the user's own modules are being imported: a study file, or the module of a model."""
    token = _importing.set(True)
    try:
        yield
    finally:
        _importing.reset(token)


def refuse_nested_run() -> None:
    """Refuse to run a study in the middle of the import of a study file or of the module of its model.

    Raises:
        DefinitionError: that is so; a worker would start workers, which would start workers.
    """
    if _importing.get():
        raise DefinitionError(
            "this file runs a study when it is imported, as the workers and the command caviar do; "
            'put that line under: if __name__ == "__main__":'
        )


def catalog_names() -> list[str]:
    """Return the names of the studies in the catalog."""
    folder = Path(catalog.__file__).parent
    return sorted(file.stem for file in folder.glob("[a-z]*.py"))


def select_study(selector: str) -> Study:
    """Return the study that is meant.

    Raises:
        UnknownStudy: nothing answers to it; the message offers the nearest names.
        DefinitionError: the file or module is broken; the message names file and line.
    """
    if selector.endswith(".py"):
        return _take(_load_file(Path(selector)), "STUDY", selector)
    if ":" in selector:
        module, _, name = selector.partition(":")
        return _take(_load_module(module), name, selector)
    if selector in catalog_names():
        return _take(_load_module(f"caviar.studies.catalog.{selector}"), "STUDY", selector)
    raise UnknownStudy(
        f"no study '{selector}'; {did_you_mean(selector, catalog_names())}"
        f"in the catalog: {', '.join(catalog_names())}; a path to a .py file or package.module:NAME works too"
    )


def select_stored(engine: Engine, selector: str) -> Study:
    """Return the study that is meant; one that only the database knows is taken from there.

    Raises:
        As `select_study` does.
    """
    from caviar.storage.definitions import find_study

    try:
        return select_study(selector)
    except UnknownStudy:
        record = find_study(engine, selector)
        if record is None:
            raise
        return from_body(record.body)


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise UnknownStudy(f"no file {path}")
    spec = importlib.util.spec_from_file_location(f"caviar_study_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise UnknownStudy(f"{path} cannot be read as Python")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.resolve().parent))  # its models beside it, as when Python runs the file
    sys.modules[spec.name] = module
    try:
        with importing_project(), redirect_stdout(sys.stderr), _without_bytecode(path):  # stdout is for results
            spec.loader.exec_module(module)
    except Exception as error:
        raise _broken(error, str(path)) from error
    return module


@contextmanager
def _without_bytecode(path: Path) -> Iterator[None]:
    """Read a file itself: Python takes bytecode for current where a file was changed within a second to the same size,
    such as from budget=40 to budget=60. What it imports is not kept as bytecode either."""
    with suppress(OSError):  # a folder that we may not write in has none of ours
        Path(importlib.util.cache_from_source(str(path))).unlink(missing_ok=True)
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        yield
    finally:
        sys.dont_write_bytecode = before


def _load_module(name: str) -> ModuleType:
    try:
        with importing_project(), redirect_stdout(sys.stderr):
            if importlib.util.find_spec(name) is None:
                raise UnknownStudy(f"no module '{name}'")
            return importlib.import_module(name)
    except UnknownStudy:
        raise
    except Exception as error:
        missing = isinstance(error, ModuleNotFoundError) and f"{name}.".startswith(f"{error.name}.")
        if missing or not name or name.startswith("."):
            raise UnknownStudy(f"no module '{name}': {error}") from error
        raise _broken(error, name.replace(".", "/")) from error


def _broken(error: Exception, where: str) -> DefinitionError:
    """Say file, line and message of an error in a user's file, in one line."""
    if isinstance(error, SyntaxError):
        return DefinitionError(f"{error.filename}, line {error.lineno}: {error.msg}")
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_of(frame.filename, where)]
    place = f"{frames[-1].filename}, line {frames[-1].lineno}" if frames else where
    if isinstance(error, ValidationError):
        told = first_problem(error)
    elif isinstance(error, DefinitionError):
        told = str(error)
    else:
        told = f"{type(error).__name__}: {error}{_nearest_scales(error)}".splitlines()[0]
    return DefinitionError(f"{place}: {told}")


def _is_of(filename: str, where: str) -> bool:
    """Say whether a file is the one at that path, or of that module or of a package above it."""
    packages = [Path(where), *Path(where).parents]
    modules = [str(p) + end for p in packages if p.name for end in (".py", "/__init__.py")]
    return filename.endswith((where, *modules)) and "importlib" not in filename


def _nearest_scales(error: Exception) -> str:
    """Offer scales with a name like the one that Python did not find."""
    quoted = re.search(r"name '(\w+)'", str(error)) if isinstance(error, NameError | ImportError) else None
    near = did_you_mean(quoted[1], SCALE_NAMES, limit=2, cutoff=0.5) if quoted else ""
    return f"; {near}scales: {', '.join(SCALE_NAMES)}" if near else ""


def _take(module: ModuleType, name: str, selector: str) -> Study:
    found = getattr(module, name, None)
    if found is None:
        raise DefinitionError(f"{selector} has no {name}; write {name} = Study(...) in it")
    if not isinstance(found, Study):
        raise DefinitionError(f"{name} of {selector} is a {type(found).__name__}, not a caviar.Study")
    return found
