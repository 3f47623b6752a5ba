"""The files of the user's project that a training is made of, and a digest of each. None of their code is run.

They are those of the modules that a study names, and of what these import from the project, which their `import`
statements say. Installed packages are not among them. A module that imports by names which it makes at run time could
import any module of its package: all of them count then.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import os.path
import shlex
import sys
from collections.abc import Iterable, Iterator, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

from caviar.studies.errors import CodeMissing
from caviar.text import shown
from caviar.user_code import INSTALLED, STANDARD

_BY_NAME = {"import_module", "__import__", "pkgutil"}  # what imports a module by a name that is made at run time


def code_files(paths: Iterable[str], command: str | None = None) -> dict[str, Path]:
    """Return the files of a training by their path in the project, such as `shop/nets.py`.

    Args:
        paths: of classes and functions, `package.module:name`, as a study names them.
        command: a study's command; the files of the working directory that it names count, and what the Python ones
            among them import.

    Raises:
        CodeMissing: there is no module of that name here.
    """
    importlib.invalidate_caches()  # files may be new
    files = _Modules().named([path.partition(":")[0] for path in paths])
    if command is not None:
        files |= _of_command(command)
    return dict(sorted(files.items()))


def digest(file: Path) -> str:
    """Return the SHA-256 of a file, without the statement of a Python file that defines a study.

    A study is compared field by field: a larger budget is no change of the code.
    """
    source = file.read_bytes()
    if file.suffix == ".py":
        lines = source.splitlines(keepends=True)
        for node in reversed(_definitions(source)):
            assert node.end_lineno is not None
            tail = lines[node.end_lineno - 1][node.end_col_offset :]
            lines[node.lineno - 1 : node.end_lineno] = [lines[node.lineno - 1][: node.col_offset], tail]
        source = b"".join(lines)
    return hashlib.sha256(source).hexdigest()


def _definitions(source: bytes) -> list[ast.Assign | ast.AnnAssign]:
    """Return the statements `NAME = Study(...)` of a file, by line."""
    tree = _parsed(source)
    return [
        node
        for node in (tree.body if tree else [])
        if isinstance(node, ast.Assign | ast.AnnAssign)
        and isinstance(node.value, ast.Call)
        and "Study" in (getattr(node.value.func, "id", ""), getattr(node.value.func, "attr", ""))
    ]


def _parsed(source: bytes) -> ast.Module | None:
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError):
        return None


class _Modules:
    """Finds modules as Python would, without importing any.

    Args:
        folder: where a script stands that Python runs, whose modules are looked for there; None for this process's own
            path.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._roots = {folder or Path.cwd()}
        self._specs: dict[str, ModuleSpec | None] = {}

    def named(self, names: Sequence[str]) -> dict[str, Path]:
        """Return the files of modules, and of what they import from the project."""
        found = {}
        for name in names:
            file = self._file(name)
            if file is not None:
                root = file.parents[name.count(".") + (file.stem == "__init__")]
                if root.name not in INSTALLED:
                    self._roots.add(root)
                found[_key(name, file)] = file
            elif self._spec(name) is None and name not in sys.modules:
                first = shown(name.partition(".")[0])
                raise CodeMissing(f"there is no module {shown(name)}; give the command in the folder that has {first}")
        return found | self.reached(part for name in names for part in [*_with_parents(name), *self._imports(name)])

    def reached(self, names: Iterable[str]) -> dict[str, Path]:
        """Return those files of modules, and of what they import, that are of the project."""
        unread, seen, found = [*names], set[str](), dict[str, Path]()
        while unread:
            name = unread.pop()
            file = None if name in seen else self._file(name)
            seen.add(name)
            if file is not None and self._is_of_project(file):
                found[_key(name, file)] = file
                unread += self._imports(name)
        return found

    def _imports(self, name: str) -> Iterator[str]:
        file = self._file(name)
        if file is not None and file.suffix == ".py":
            yield from imported(file, name if file.stem == "__init__" else name.rpartition(".")[0])

    def _file(self, name: str) -> Path | None:
        """Return the file of a module that is not Caviar's; None where it has none."""
        spec = None if name.partition(".")[0] == "caviar" else self._spec(name)
        return Path(spec.origin) if spec is not None and spec.has_location and spec.origin else None

    def _spec(self, name: str) -> ModuleSpec | None:
        if name not in self._specs:
            self._specs[name] = self._find(name)
        return self._specs[name]

    def _find(self, name: str) -> ModuleSpec | None:
        package, _, last = name.rpartition(".")
        if package:  # by its last part: a folder without an __init__.py would look for its parent among the loaded
            parent = self._spec(package)
            places = None if parent is None else parent.submodule_search_locations
            return None if places is None else PathFinder.find_spec(last, list(places))
        if self._folder is not None:
            return PathFinder.find_spec(name, [str(self._folder)])
        specs = (finder.find_spec(name, None) for finder in sys.meta_path if hasattr(finder, "find_spec"))
        return next((spec for spec in specs if spec is not None), None)

    def _is_of_project(self, file: Path) -> bool:
        return not file.is_relative_to(STANDARD) and any(
            file.is_relative_to(root) and INSTALLED.isdisjoint(file.relative_to(root).parts) for root in self._roots
        )


def _key(name: str, file: Path) -> str:
    """Return a module's path in its project."""
    return name.replace(".", "/") + ("/__init__" if file.stem == "__init__" else "") + file.suffix


def imported(file: Path, package: str) -> Iterator[str]:
    """Yield the names of all modules that a file may import; `package` is the one that it is in."""
    tree = _parsed(file.read_bytes())
    for node in ast.walk(tree) if tree else ():
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _with_parents(alias.name)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *([base] if base else [])])
            yield from _with_parents(base)
            yield from (f"{base}.{alias.name}" for alias in node.names if base and alias.name != "*")
        elif package and _BY_NAME & {getattr(node, "id", ""), getattr(node, "attr", ""), getattr(node, "name", "")}:
            for other in file.parent.rglob("*.py"):
                parts = other.relative_to(file.parent).with_suffix("").parts
                yield ".".join([package, *(part for part in parts if part != "__init__")])


def _with_parents(name: str) -> list[str]:
    """Return the names of a module and of the packages that it is in, whose code runs before its own."""
    parts = name.split(".") if name else []
    return [".".join(parts[: count + 1]) for count in range(len(parts))]


def _of_command(command: str) -> dict[str, Path]:
    """Return the files of the working directory that a command names, also as `--config=FILE` or `-m MODULE`."""
    here, files = Path.cwd().resolve(), dict[str, Path]()
    try:
        words = shlex.split(command)
    except ValueError:  # a quote that is not closed
        words = command.split()
    for before, word in zip(["", *words], words, strict=False):
        if before == "-m":
            files |= _Modules(here).reached(_with_parents(f"{word}.__main__"))
        for name in {word, word.rpartition("=")[2]}:
            file = Path(os.path.realpath(here / name))
            if os.path.isfile(file) and file.is_relative_to(here):
                files[os.path.relpath(here / name, here)] = file
                if file.suffix == ".py":
                    beside = _Modules(file.parent).reached(imported(file, ""))
                    files |= {os.path.relpath(other, here): other for other in beside.values()}
    return files
