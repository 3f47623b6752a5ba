"""Digests of Caviar's own training code, and of the data: what a trial's value depends on besides its hyperparameters.

Two machines with the same digests train the same; so does one machine on two days. The user's code has digests of its
own, file by file: caviar.studies.lifecycle.code_files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from caviar.models.data import files

_OURS = Path(__file__).parent


def code_digest() -> str:
    """Return a digest of the source code of this package, which trains the models that studies name."""
    return _digest(sorted(_OURS.rglob("*.py")))


def data_digest(name: str, data_dir: Path) -> str:
    """Return a digest of a data set's files, as `data.files` finds them."""
    return _digest(files(name, data_dir))


def _digest(paths: Iterable[Path]) -> str:
    whole = hashlib.sha256()
    for path in paths:
        with path.open("rb") as opened:
            whole.update(path.name.encode() + hashlib.file_digest(opened, "sha256").digest())
    return whole.hexdigest()
