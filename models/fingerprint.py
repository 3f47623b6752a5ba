"""Digests of the code that trains and of the data: what a trial's value depends on besides its hyperparameters.

Two machines with the same digests train the same; so does one machine on two days. No code of a model is run for it.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable
from pathlib import Path

from caviar.models.data import files
from caviar.models.registry import model_file

_OURS = Path(__file__).parent


def code_digest(model: str) -> str:
    """Return a digest of the source code of this package and of a model.

    The code of a model is its file and the files in the same folder that it imports; of a model in a package, all files
    of the package.
    """
    return _digest([*_python_files(_OURS), *_of_model(model)])


def data_digest(name: str, data_dir: Path) -> str:
    """Return a digest of a data set's files, as `data.files` finds them."""
    return _digest(files(name, data_dir))


def _of_model(model: str) -> list[Path]:
    file = model_file(model)
    if file is None or _OURS in file.parents:
        return []
    in_package = "." in model.partition(":")[0] or file.name == "__init__.py"
    return _python_files(file.parent) if in_package else sorted(_with_imports(file))


def _with_imports(file: Path) -> set[Path]:
    """Return a file, and the modules and packages in its folder that it imports, directly or through others."""
    read, unread = set[Path](), [file]
    while unread:
        path = unread.pop()
        read.add(path)
        for name in _imported(path):
            module, package = file.parent / f"{name}.py", file.parent / name
            whole = (package / "__init__.py").is_file() or not module.is_file()  # as Python looks for them
            beside = _python_files(package) if whole else [module]
            unread += [other for other in beside if other not in read]
    return read


def _imported(path: Path) -> set[str]:
    """Return the top-level names that a file imports; none if Python cannot parse it."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return set()
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
    return {name.split(".")[0] for name in names}


def _python_files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.py"))


def _digest(paths: Iterable[Path]) -> str:
    whole = hashlib.sha256()
    for path in paths:
        with path.open("rb") as opened:
            whole.update(path.name.encode() + hashlib.file_digest(opened, "sha256").digest())
    return whole.hexdigest()
