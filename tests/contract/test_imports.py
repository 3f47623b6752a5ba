"""What is loaded when: help without torch and Optuna."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


def modules_after(code: str, cwd: Path) -> set[str]:
    said = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}\nprint('\\n'.join(sys.modules), file=sys.stderr)"],
        cwd=cwd, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return {name.split(".")[0] for name in said.stderr.splitlines()}


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["db", "--help"], ["data", "--help"]])
def test_help_loads_neither_torch_nor_optuna_nor_a_database_driver(arguments: list[str], root: Path) -> None:
    loaded = modules_after(f"from caviar.studies.cli import run\nassert run({arguments!r}) == 0", root)
    assert "typer" in loaded
    assert not loaded & {"torch", "optuna", "sqlalchemy", "psycopg2", "sklearn", "scipy", "numpy"}


def test_storage_loads_no_torch_and_its_status_no_optuna(root: Path) -> None:
    assert "torch" not in modules_after(
        "import caviar.storage.history, caviar.storage.trials, caviar.storage.ledger", root
    )
    assert not modules_after("import caviar.storage.status, caviar.storage.engine", root) & {
        "torch",
        "optuna",
        "alembic",
    }


def test_models_load_no_search_and_no_database(root: Path) -> None:
    loaded = modules_after("import caviar.models.training, caviar.models.data, caviar.models.checkpoint", root)
    assert not loaded & {"optuna", "sqlalchemy", "psycopg2"}


def test_the_sizes_of_data_sets_are_known_without_torch(root: Path) -> None:
    assert not modules_after("import caviar.models.data_sets", root) & {"torch", "torchvision", "sklearn", "numpy"}


def test_a_definition_loads_no_optuna_and_no_torch(root: Path) -> None:
    loaded = modules_after("import caviar.studies.catalog.digits", root)
    assert not loaded & {"torch", "optuna", "sqlalchemy", "psycopg2", "numpy", "scipy"}
