"""Load a study by a name in the catalog, a path to a .py file with a `STUDY`, or `package.module:NAME`."""

from __future__ import annotations

import importlib
import importlib.util
import os.path
import re
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from contextvars import ContextVar
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from pydantic import ValidationError

from caviar.foreign_code import IN_A_MODULE, no_exit, reason_of
from caviar.studies import catalog
from caviar.studies.definition import Study, from_body
from caviar.studies.errors import DefinitionError, UnknownStudy
from caviar.studies.space.problems import first_problem
from caviar.studies.space.scales import __all__ as SCALE_NAMES
from caviar.suggestions import did_you_mean
from caviar.text import shown

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from caviar.storage.records import StudyRecord

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
    """Refuse to run a study while a study's file or a model's module is imported: workers would start workers."""
    if _importing.get():
        raise DefinitionError(
            "this file runs a study while it is read for its STUDY or its model; "
            'put that line under: if __name__ == "__main__":'
        )


def catalog_names() -> list[str]:
    """Return the names of the studies in the catalog."""
    folder = Path(catalog.__file__).parent
    return sorted(file.stem for file in folder.glob("[a-z]*.py"))


def select_study(selector: str) -> Study:
    """Return the study of a name in the catalog, a path or a `module:NAME`.

    Raises:
        UnknownStudy: there is none; the message offers the nearest names.
        DefinitionError: the file or module is broken; the message names file and line.
    """
    if selector.endswith(".py"):
        return _take(_load_file(Path(selector)), "STUDY", selector)
    if not is_study_name(selector):
        module, _, name = selector.partition(":")
        return _take(_load_module(module), name, selector)
    if selector in catalog_names():
        return _take(_load_module(f"caviar.studies.catalog.{selector}"), "STUDY", selector)
    raise unknown_study(selector)


def is_study_name(selector: str) -> bool:
    """Return whether a selector is a name, and neither a path nor a `module:NAME`."""
    return not selector.endswith(".py") and ":" not in selector


def unknown_study(selector: str, stored: Iterable[str] = ()) -> UnknownStudy:
    """Return the error that nothing has this name; it offers the nearest names of the catalog and of the database.

    Args:
        stored: the names of the studies in the database.
    """
    return UnknownStudy(
        f"no study '{shown(selector)}'; {did_you_mean(selector, [*catalog_names(), *stored])}"
        f"in the catalog: {', '.join(catalog_names())}; a path to a .py file or package.module:NAME works too; "
        f"caviar ls lists those in the database"
    )


def select_stored(engine: Engine, selector: str) -> tuple[Study, StudyRecord | None]:
    """Return the study that `select_study` knows by this name, or else the one in the database, and where it is there.

    The second is None for a study that this machine's files define.
    """
    from caviar.storage.definitions import find_study, study_names

    try:
        return select_study(selector), None
    except UnknownStudy:
        record = find_study(engine, selector)
        if record is None and not is_study_name(selector):
            raise
        if record is None:
            raise unknown_study(selector, study_names(engine)) from None
        return from_body(record.body), record


def _load_file(path: Path) -> ModuleType:
    if not os.path.isfile(path):  # Path.is_file() raises an error for some names that no file can have
        raise UnknownStudy(f"no file {shown(str(path))}")
    spec = importlib.util.spec_from_file_location(f"caviar_study_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise UnknownStudy(f"{path} cannot be read as Python")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.resolve().parent))  # for models in the same folder, as when Python runs the file
    sys.modules[spec.name] = module
    try:
        with _importing_user_code(), _without_bytecode(path):
            spec.loader.exec_module(module)
    except Exception as error:
        raise _broken(error, str(path)) from error
    return module


@contextmanager
def _importing_user_code() -> Iterator[None]:
    """Keep what is printed away from stdout, which is for results, and `sys.exit` from ending this process."""
    with importing_project(), redirect_stdout(sys.stderr), no_exit(IN_A_MODULE):
        yield


@contextmanager
def _without_bytecode(path: Path) -> Iterator[None]:
    """Read a file itself: Python takes bytecode for current where a file was changed within a second to the same size,
    such as from budget=40 to budget=60. No bytecode is written of what it imports either."""
    with suppress(OSError):  # a folder that we may not write in has none of ours
        Path(importlib.util.cache_from_source(str(path))).unlink(missing_ok=True)
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        yield
    finally:
        sys.dont_write_bytecode = before


def _load_module(name: str) -> ModuleType:
    try:
        with _importing_user_code():
            if importlib.util.find_spec(name) is None:
                raise UnknownStudy(f"no module '{name}'")
            return importlib.import_module(name)
    except UnknownStudy:
        raise
    except Exception as error:
        missing = isinstance(error, ModuleNotFoundError) and f"{name}.".startswith(f"{error.name}.")
        if missing or not name or name.startswith("."):
            raise UnknownStudy(f"no module '{shown(name)}': {error}") from error
        raise _broken(error, name.replace(".", "/")) from error


def _broken(error: Exception, where: str) -> DefinitionError:
    """Describe an error in a user's file by file, line and message, in one line."""
    if isinstance(error, SyntaxError) and error.filename:
        return DefinitionError(f"{error.filename}, line {error.lineno}: {error.msg}")
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_of(frame.filename, where)]
    place = f"{frames[-1].filename}, line {frames[-1].lineno}" if frames else where
    if isinstance(error, ValidationError):
        message = first_problem(error, Study.model_fields if error.title == Study.__name__ else ())
    elif isinstance(error, DefinitionError):
        message = str(error)
    else:
        message = f"{reason_of(error)}{_nearest_scales(error)}"
    return DefinitionError(f"{place}: {message}")


def _is_of(filename: str, where: str) -> bool:
    """Return True if a file is the one at that path, or of that module or of a package above it."""
    packages = [Path(where), *Path(where).parents]
    modules = [str(p) + end for p in packages if p.name for end in (".py", "/__init__.py")]
    return filename.endswith((where, *modules)) and "importlib" not in filename


def _nearest_scales(error: Exception) -> str:
    """Offer scales with a name like the one that Python did not find."""
    unknown = re.search(r"name '(\w+)'", reason_of(error)) if isinstance(error, NameError | ImportError) else None
    near = did_you_mean(unknown[1], SCALE_NAMES, limit=2, cutoff=0.5) if unknown else ""
    return f"; {near}scales: {', '.join(SCALE_NAMES)}" if near else ""


def _take(module: ModuleType, name: str, selector: str) -> Study:
    try:
        with _importing_user_code():  # a module may have a __getattr__
            study = getattr(module, name, None)
    except Exception as error:
        raise _broken(error, vars(module).get("__file__") or selector) from error
    if study is None:
        raise DefinitionError(f"{selector} has no {name}; write {name} = Study(...) in it")
    if not isinstance(study, Study):
        raise DefinitionError(f"{name} of {selector} is of type {type(study).__name__}, not caviar.Study")
    return study
