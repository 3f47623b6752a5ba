"""Digests of Caviar's own training code, and of the data: what a trial's value depends on besides its hyperparameters.

Two machines with the same digests train the same; so does one machine on two days. The user's code has digests of its
own, file by file: caviar.studies.lifecycle.code_files.
"""

from __future__ import annotations

from pathlib import Path

from caviar.models.data import digest
from caviar.models.digests import of_files

_OURS = Path(__file__).parent


def code_digest() -> str:
    """Return a digest of the source code of this package, which trains the models that studies name."""
    return of_files(sorted(_OURS.rglob("*.py")))


def data_digest(name: str, data_dir: Path) -> str:
    """Return a digest of a data set: of its files, or of the tensors that the user's function returned."""
    return digest(name, data_dir)
