"""The README's commands exist, its options are real, its links resolve, and its examples run."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer.main
from sqlalchemy.engine import URL

from caviar.studies.cli import app, run

README = (Path(__file__).parents[2] / "README.md").read_text()
COMMANDS = typer.main.get_command(app)


def python_blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def commands() -> list[list[str]]:
    """Every `caviar ...` in code, without what a shell takes for itself."""
    code = [*re.findall(r"`(caviar [^`]+)`", README), *re.findall(r"^\$ (caviar .*)$", README, re.MULTILINE)]
    return [re.split(r"\s+[#>|]", line)[0].split()[1:] for line in code]


def find(words: list[str]):  # type: ignore[no-untyped-def]
    command = COMMANDS
    for word in words:
        if word.startswith("-") or not hasattr(command, "commands"):
            break
        assert word in command.commands or word == "COMMAND", f"caviar {' '.join(words)}: no '{word}'"
        command = command.commands.get(word, command)
    return command


def options_of(command) -> set[str]:  # type: ignore[no-untyped-def]
    return {option for p in [*command.params, *COMMANDS.params] for option in getattr(p, "opts", [])} | {"--help"}


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_every_command_and_option_of_the_readme_exists(words: list[str]) -> None:
    known = options_of(find(words))
    assert {word for word in words if word.startswith("-")} <= known


def test_every_command_is_in_the_readme() -> None:
    assert set(COMMANDS.commands) == {words[0] for words in commands() if words and words[0] in COMMANDS.commands}  # type: ignore[attr-defined]


def test_the_options_of_each_row_of_the_table_exist_and_are_all_there() -> None:
    for row in re.findall(r"^\| `caviar ([^`]+)` \| (.*) \|$", README, re.MULTILINE):
        command = find(row[0].split())
        named = set(re.findall(r"`(--[a-z-]+)`", row[1]))
        assert named <= options_of(command)
        if row[0].startswith(("run", "join", "status", "trials", "workers", "history", "doctor", "dashboard", "panda")):
            own = {o for p in command.params for o in p.opts if o.startswith("--")} - {"--database-url", "--help"}
            assert named == own


def test_links_resolve(root: Path) -> None:
    for link in re.findall(r"\]\(([^)]+)\)", README):
        assert link.startswith("https://") or (root / link).exists(), link


def test_the_pictures_are_shown_and_small(root: Path) -> None:
    pictures = [f for f in (root / "docs").iterdir() if f.suffix in (".svg", ".png")]
    assert {f"docs/{f.name}" for f in pictures} == set(re.findall(r"!\[[^]]*\]\(([^)]+)\)", README))
    assert sum(f.stat().st_size for f in pictures) < 2**20


def test_make_targets_exist(root: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (root / "Makefile").read_text(), re.MULTILINE))
    assert (
        set(re.findall(r"`make ([a-z]+)`", README)) | set(re.findall(r"^\$ make ([a-z]+)", README, re.MULTILINE))
        <= targets
    )


def test_no_figure_is_left_to_fill_in() -> None:
    assert re.findall(r"^[A-Z]+$", README, re.MULTILINE) == []


def test_scripts_that_figures_come_from_exist(root: Path) -> None:
    scripts = re.findall(r"python (benchmarks/\w+\.py|docs/\w+\.py)", README)
    assert scripts
    for script in scripts:
        said = subprocess.run(
            [sys.executable, str(root / script), "--help"], capture_output=True, text=True, check=True
        )
        assert "usage" in said.stdout


def test_the_examples_run(tmp_path: Path, database_url: URL, monkeypatch: pytest.MonkeyPatch) -> None:
    study, model, _ = python_blocks()
    (tmp_path / "my_study.py").write_text(study)
    (tmp_path / "my_model.py").write_text(model)
    assert run(["plan", str(tmp_path / "my_study.py")]) == 0
    own = study.replace('model="mlp"', 'model="my_model:Net"').replace("epochs=20", "epochs=1")
    (tmp_path / "my_study.py").write_text(own)
    monkeypatch.setenv("CAVIAR_DATABASE_URL", database_url.render_as_string(hide_password=False))
    assert run(["run", str(tmp_path / "my_study.py"), "--budget", "4"]) == 0


def test_the_optuna_program_runs() -> None:
    *_, program = python_blocks()
    ran: dict[str, Any] = {}
    exec(program, ran)
    assert len(ran["study"].trials) == 30
    assert ran["study"].best_params["y"] == 3


def test_nothing_in_the_tree_names_this_machine(root: Path) -> None:
    if shutil.which("git") is None or not (root / ".git").exists():
        pytest.skip("not a git checkout")
    files = subprocess.run(["git", "ls-files"], cwd=root, capture_output=True, text=True, check=True).stdout.split()
    here = f"{root}/"
    assert [f for f in files if (root / f).is_file() and here in (root / f).read_text(errors="ignore")] == []
