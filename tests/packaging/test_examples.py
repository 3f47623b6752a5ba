"""The examples, as a user has them: copied out of the clone, each a project with packages of its own."""

from __future__ import annotations

import difflib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
from sqlalchemy.engine import URL

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = sorted(folder.parent.name for folder in EXAMPLES.glob("*/README.md"))
ADAPTED = [name for name in NAMES if (EXAMPLES / name / "before.py").exists()]
FRAMEWORKS = ("lightning", "transformers", "accelerate")
Run = Callable[..., str]


@pytest.fixture
def run(tmp_path: Path, new_database: Callable[..., URL]) -> Run:
    """Return a function that runs Python in a copy of an example, without the clone on its path."""
    url = new_database(empty=True).render_as_string(hide_password=False)
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environ |= {"CAVIAR_DATABASE_URL": url, "CAVIAR_HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1"}

    def run(name: str, *arguments: str) -> str:
        folder = tmp_path / name
        if not folder.exists():
            shutil.copytree(EXAMPLES / name, folder)
        done = subprocess.run(
            [sys.executable, *arguments], cwd=folder, env=environ, text=True, stdin=subprocess.DEVNULL,
            capture_output=True,
        )  # fmt: skip
        assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
        return done.stdout

    return run


def check_trials(run: Run, name: str, budget: int) -> None:
    """Check that a study has its budget of trials, each with a value."""
    trials = json.loads(run(name, "-m", "caviar", "trials", name, "--json"))
    assert [trial["trial"] for trial in trials] == list(range(budget))
    assert {trial["state"] for trial in trials} <= {"complete", "pruned"}
    assert all(trial["value"] is not None for trial in trials)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in NAMES if (EXAMPLES / name / "tune.py").exists()])
def test_an_example_is_searched(name: str, run: Run) -> None:
    if name in FRAMEWORKS and find_spec(name) is None:
        pytest.skip(f"it is not installed: pip install '.[{name}]'")
    run(name, "-m", "caviar", "run", "tune.py", "--budget", "4", "--workers", "1")
    check_trials(run, name, 4)


@pytest.mark.slow
def test_a_notebook_searches(run: Run) -> None:
    cells = json.loads((EXAMPLES / "notebook" / "search.ipynb").read_text())["cells"]
    said = run("notebook", "-c", "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"))
    check_trials(run, "notebook", 8)
    assert len(said.splitlines()) == 8 + 1


@pytest.mark.parametrize("name", ADAPTED)
def test_a_program_differs_from_what_it_was_by_four_lines_at_most(name: str) -> None:
    before, after = ((EXAMPLES / name / file).read_text().splitlines() for file in ("before.py", "train.py"))
    new = [line[2:] for line in difflib.ndiff(before, after) if line.startswith("+ ")]
    assert new == [line for line in after if line.endswith("  # Caviar")]
    assert len(new) <= 4
    readme = (EXAMPLES / name / "README.md").read_text()
    assert all(line in readme for line in new)


@pytest.mark.parametrize("name", NAMES)
def test_a_readme_is_short(name: str) -> None:
    assert len((EXAMPLES / name / "README.md").read_text().splitlines()) <= 15
