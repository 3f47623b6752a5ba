"""Heavy packages are loaded only where they are needed: neither by `import caviar` nor by any command's help."""

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


HEAVY = {"torch", "optuna", "sqlalchemy", "psycopg2", "sklearn", "scipy", "numpy", "alembic"}

EVERY_HELP = """
import typer.main
from caviar.studies.cli import app, run

def show_all(command, words):
    assert run([*words, "--help"]) == 0
    for name, part in getattr(command, "commands", {}).items():
        show_all(part, [*words, name])

show_all(typer.main.get_command(app), [])
"""


def test_the_help_of_no_command_loads_a_heavy_package(root: Path) -> None:
    loaded = modules_after(EVERY_HELP, root)
    assert "typer" in loaded
    assert not loaded & HEAVY


def test_import_caviar_loads_no_heavy_package_and_no_command_line(root: Path) -> None:
    loaded = modules_after("import caviar\nassert 'status' in dir(caviar)", root)
    assert "caviar" in loaded
    assert not loaded & {*HEAVY, "pydantic", "typer", "rich"}


def test_steering_and_reading_a_study_load_neither_torch_nor_optuna(root: Path) -> None:
    rooms = ("standing", "reading", "changing", "documents", "data", "database", "panda", "records", "session")
    loaded = modules_after(f"import {', '.join(f'caviar.studies.api.{room}' for room in rooms)}", root)
    assert not loaded & {*HEAVY, "plotly"} - {"sqlalchemy", "psycopg2"}


def test_training_starts_the_workers_fork_server_before_it_loads_torch(root: Path) -> None:
    loaded = modules_after("import caviar.studies.api.running, caviar.studies.cli.commands.run", root)
    assert not loaded & {"torch", "optuna", "numpy"}


def test_storage_loads_no_torch_and_its_status_no_optuna(root: Path) -> None:
    assert "torch" not in modules_after(
        "import caviar.storage.history, caviar.storage.trials, caviar.storage.ledger", root
    )
    assert not modules_after("import caviar.storage.status, caviar.storage.engine", root) & {
        "torch",
        "optuna",
        "alembic",
    }


@pytest.mark.slow
def test_models_load_no_search_and_no_database(root: Path) -> None:
    loaded = modules_after("import caviar.models.training, caviar.models.data, caviar.models.checkpoint", root)
    assert not loaded & {"optuna", "sqlalchemy", "psycopg2"}


def test_the_sizes_of_data_sets_are_known_without_torch(root: Path) -> None:
    assert not modules_after("import caviar.models.data_sets", root) & {"torch", "torchvision", "sklearn", "numpy"}


def test_a_definition_loads_no_optuna_and_no_torch(root: Path) -> None:
    loaded = modules_after("import caviar.studies.catalog.digits", root)
    assert not loaded & {"torch", "optuna", "sqlalchemy", "psycopg2", "numpy", "scipy"}
