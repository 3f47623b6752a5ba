"""The documentation is true: its commands and options exist, its links resolve, and its examples run."""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sqlalchemy.engine import URL

import caviar
import caviar.studies.workers.user.rank_failures  # has an error of its own
from caviar import limits
from caviar.errors import CaviarError
from caviar.studies.cli import run
from docs import names
from docs.build import complaints
from docs.commands import page as reference
from tests.helpers.documents import (
    COMMANDS,
    PAGES,
    REFERENCE,
    blocks,
    commands,
    find,
    name_of,
    options_of,
    without_blocks,
)

README = PAGES[0]
OWN_MODEL = Path(__file__).parents[2] / "docs" / "guides" / "own-model.md"
each_page = pytest.mark.parametrize("page", PAGES, ids=name_of)


@pytest.mark.parametrize("page", [*PAGES, REFERENCE], ids=name_of)
def test_every_command_and_option_exists(page: Path) -> None:
    for words in commands(page):
        unknown = {word.partition("=")[0] for word in words if word.startswith("-")} - options_of(find(words))
        assert not unknown, f"caviar {' '.join(words)}"


def test_every_command_is_shown_outside_of_the_reference() -> None:
    shown = {words[0] for page in PAGES for words in commands(page) if words}
    assert {words[0] for words in COMMANDS if words} <= shown


def test_the_reference_of_the_commands_is_current() -> None:
    assert REFERENCE.read_text() == reference(), "make docs brings docs/reference/commands.md up to date"


@pytest.mark.parametrize("words", [words for words in COMMANDS if words], ids=" ".join)
def test_every_command_and_option_is_described_in_the_reference(words: tuple[str, ...]) -> None:
    title = f"{'#' * (len(words) + 1)} caviar {' '.join(words)}\n"
    _, found, after = REFERENCE.read_text().partition(title)
    assert found
    section = re.split(r"^#", after, flags=re.MULTILINE)[0]
    for parameter in COMMANDS[words].params:
        if parameter.opts[0] not in ("--database-url", "--help") and not parameter.hidden:
            assert parameter.help, f"caviar {' '.join(words)}: {parameter.opts[0]} has no description"
            described = parameter.opts[0] if parameter.param_type_name == "option" else parameter.help.split("\n")[0]
            assert described in section


def test_every_variable_time_limit_exit_code_and_extra_is_in_the_settings(root: Path) -> None:
    text = (root / "docs" / "reference" / "settings.md").read_text()
    sources = [file for part in ("studies", "models", "storage") for file in (root / part).rglob("*.py")]
    variables = {name for file in sources for name in re.findall(r"\bCAVIAR_[A-Z_]+\b", file.read_text())}
    assert variables == set(re.findall(r"^\| `(CAVIAR_\w+)`", text, re.MULTILINE))
    for option, seconds in re.findall(r"^\| `(--\w+)` \| (\d+) s", text, re.MULTILINE):
        assert [p.default for p in COMMANDS["run",].params if option in p.opts] == [float(seconds)]
    extras = tomllib.loads((root / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for extra in set(extras) - {"dev", "docs", "bench", "smac"}:  # these are for developers
        assert f"`{extra}`" in text


def test_every_limit_is_in_the_settings(root: Path) -> None:
    text = (root / "docs" / "reference" / "settings.md").read_text()
    written = {
        name: float(most.replace(",", "")) for name, most in re.findall(r"^\| `([A-Z_]+)` \| ([\d,e+]+) \|", text, re.M)
    }
    assert written == {n: float(v) for n, v in vars(limits).items() if n.isupper() and not isinstance(v, str)}


def test_the_table_of_exit_codes_is_that_of_the_errors(root: Path) -> None:
    text = (root / "docs" / "reference" / "settings.md").read_text()
    rows = re.findall(r"^\| (\d+) \| .+? \| (.*?)\|$", text, re.MULTILINE)
    table = {int(code): set(re.findall(r"`(\w+)`", errors)) for code, errors in rows}
    errors = [e for tree in (caviar.StudyError, caviar.StorageError, caviar.ModelError) for e in _below(tree)]
    expected: dict[int, set[str]] = {0: set(), CaviarError.exit_code: set(), 130: set()}
    for error in errors:
        if error.exit_code != CaviarError.exit_code:  # which stands for all others
            expected.setdefault(error.exit_code, set()).add(error.__name__)
    assert table == expected


def _below(error: type[CaviarError]) -> list[type[CaviarError]]:
    return [error, *(e for child in error.__subclasses__() for e in _below(child))]


def test_the_python_call_of_every_command_exists() -> None:
    for call in re.findall(r"^In Python: \[`caviar\.([\w.]+)\(", REFERENCE.read_text(), re.MULTILINE):
        called: Any = caviar
        for name in call.split("."):
            called = getattr(called, name)
        assert callable(called)


def test_every_public_name_is_in_the_python_reference() -> None:
    text = names.PAGE.read_text()
    assert text == names.page(), "make docs brings docs/reference/python.md up to date"
    assert set(re.findall(r"^::: caviar\.(\w+)$", text, re.MULTILINE)) == set(caviar.__all__)


@each_page
def test_links_resolve(page: Path) -> None:
    for link in re.findall(r"\]\(([^)]+)\)", without_blocks(page)):
        file, _, anchor = link.partition("#")
        if link.startswith("https://"):
            continue
        target = page.parent / file if file else page
        assert target.exists(), link
        if anchor and not anchor.startswith("caviar."):  # those are made from docstrings, and make docs checks them
            assert anchor in _anchors(target), link


def _anchors(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.*)$", without_blocks(page), re.MULTILINE)
    return {re.sub(r"\s+", "-", re.sub(r"[^\w\s-]", "", title).strip().lower()) for title in titles}


@each_page
def test_files_that_are_named_exist(page: Path, root: Path) -> None:
    folders = "benchmarks|docs|models|storage|studies|tests"
    for file in re.findall(rf"(?<![\w/])((?:{folders})/[\w/.-]*\w(?:\.\w+|/))", page.read_text()):
        assert (root / file).exists() or file.startswith("benchmarks/results"), file


def test_the_readme_is_short() -> None:
    assert len(README.read_text().splitlines()) <= 150


def test_the_pictures_are_shown_and_small(root: Path) -> None:
    pictures = [f for f in (root / "docs").iterdir() if f.suffix in (".svg", ".png")]
    assert {f"docs/{f.name}" for f in pictures} == set(re.findall(r"!\[[^]]*\]\(([^)]+)\)", README.read_text()))
    assert sum(f.stat().st_size for f in pictures) < 2**20


@each_page
def test_make_targets_exist(page: Path, root: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (root / "Makefile").read_text(), re.MULTILINE))
    text = page.read_text()
    assert (
        set(re.findall(r"`make ([a-z-]+)`", text)) | set(re.findall(r"^\$ make ([a-z-]+)", text, re.MULTILINE))
        <= targets
    )


@each_page
def test_no_figure_is_left_to_fill_in(page: Path) -> None:
    assert re.findall(r"^[A-Z]+$|TODO|TBD", page.read_text(), re.MULTILINE) == []


# Each in a process of its own, which has imported what takes long already.
_EACH_HELP = """
import os, runpy, sys
import optuna, scipy.stats, torch

for script in sys.argv[1:]:
    if (child := os.fork()) == 0:
        sys.argv[:], sys.path[0] = [script, "--help"], os.path.dirname(script)
        runpy.run_path(script, run_name="__main__")
        os._exit(1)
    if os.waitpid(child, 0)[1]:
        sys.exit(f"{script} --help failed")
"""


@pytest.mark.slow
def test_scripts_that_figures_come_from_exist(root: Path) -> None:
    named = {s for page in PAGES for s in re.findall(r"python ((?:benchmarks|docs)/[\w/]+\.py)", page.read_text())}
    assert len(named) > 5
    scripts = [str(root / script) for script in sorted(named)]
    done = subprocess.run([sys.executable, "-c", _EACH_HELP, *scripts], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("usage: ") == len(named)


def test_a_complaint_about_a_link_or_a_docstring_fails_the_build() -> None:
    assert complaints("Build started\nBuild finished in 5.09s\nNo issues found\n") == []
    assert complaints("Build started\ngriffe: src/caviar/x.py:41: Parameter 'a' does not appear\nNo issues found\n")
    assert complaints("Warning: page does not exist\n  [ index.md:2:5 ]\n")


PROGRAMS = [(page, number) for page in PAGES for number, _ in enumerate(blocks(page, "python"))]


@pytest.fixture
def project(tmp_path: Path, database_url: URL, monkeypatch: pytest.MonkeyPatch, root: Path) -> Path:
    """A folder with the README's study and the guide's model, made small, and an address in the environment."""
    study = blocks(README, "python")[1].replace("epochs=20", "epochs=1").replace("budget=30", "budget=5")
    (tmp_path / "my_study.py").write_text(study)
    for name, program in zip(("my_model", "my_data"), blocks(OWN_MODEL, "python"), strict=False):
        (tmp_path / f"{name}.py").write_text(program)
    monkeypatch.setenv("CAVIAR_DATABASE_URL", database_url.render_as_string(hide_password=False))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")  # has `python`
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "tune", raising=False)  # of another page, which this process has imported
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize(("page", "number"), PROGRAMS, ids=[f"{name_of(p)}-{n}" for p, n in PROGRAMS])
def test_every_python_example_runs(page: Path, number: int, project: Path) -> None:
    program = blocks(page, "python")[number]
    if "STUDY = Study(" in program:
        module = re.search(r'(?:train|objective)="(\w+):', program)  # the file's own name
        file = project / f"{module[1] if module else 'example'}.py"
        file.write_text(program)
        assert run(["plan", str(file)]) == 0
        return
    if '"digits"' in program:
        assert run(["run", "digits", "--budget", "4"]) == 0
    environment = {**os.environ, "PYTHONPATH": str(project)}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=project, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["SGDClassifier", "SGDRegressor", "Perceptron", "GaussianNB", "MultinomialNB"])
def test_the_guides_wrapper_takes_an_estimator_up_where_it_was(name: str, root: Path) -> None:
    from sklearn.utils import all_estimators

    (program,) = [b for b in blocks(root / "docs" / "guides" / "your-training.md", "python") if "class Learned" in b]
    names: dict[str, Any] = {}
    exec(program, names)
    model = dict(all_estimators())[name]
    x, y = np.random.default_rng(0).random((90, 4)), np.arange(90) % 3
    once, first = model(), model()
    if "random_state" in vars(once):
        once, first = model(random_state=0), model(random_state=0)

    def pass_over(of: Any, part: int) -> None:
        rows, classes = slice(30 * part, 30 * part + 30), {} if name == "SGDRegressor" else {"classes": [0, 1, 2]}
        of.partial_fit(x[rows], y[rows], **classes)

    for part in range(3):
        pass_over(once, part)
    pass_over(first, 0)
    file = io.BytesIO()
    torch.save(names["Learned"](first).state_dict(), file)
    file.seek(0)
    again = model(random_state=0) if "random_state" in vars(once) else model()
    names["Learned"](again).load_state_dict(torch.load(file, weights_only=True))
    for part in (1, 2):
        pass_over(again, part)
    learned = {key: value for key, value in vars(once).items() if isinstance(value, np.ndarray)}
    assert learned
    for key, value in learned.items():
        assert np.array_equal(getattr(again, key), value), key


@pytest.mark.slow
def test_the_guides_training_on_several_gpus_runs(project: Path, root: Path) -> None:
    (study,) = blocks(root / "docs" / "guides" / "several-gpus.md", "python")
    (project / "tune.py").write_text(study.replace("epochs=10", "epochs=2").replace("budget=20", "budget=3"))
    assert run(["run", "tune.py", "--workers", "1"]) == 0
    assert [trial.state for trial in caviar.trials("two-gpus")] == ["complete"] * 3


@pytest.mark.slow
def test_the_guides_data_loss_and_metric_are_searched_by(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "prices.py").write_text(blocks(OWN_MODEL, "python")[2].replace("epochs=20", "epochs=3"))
    assert run(["run", str(project / "prices.py"), "--budget", "4"]) == 0
    assert re.search(r"^  rmse +\d", capsys.readouterr().out, re.MULTILINE)


@pytest.mark.slow
def test_the_guides_model_is_trained(project: Path) -> None:
    file = project / "my_study.py"
    file.write_text(file.read_text().replace('model="mlp"', 'model="my_model:Net"'))
    assert run(["run", str(file)]) == 0


@pytest.mark.slow
def test_the_guides_commands_are_searched(project: Path, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    guide = root / "docs" / "guides" / "command.md"
    study, training = blocks(guide, "python")[:2]
    (project / "tune.py").write_text(study.replace("budget=20", "budget=4"))
    (project / "train.py").write_text(training)
    assert run(["run", "tune.py", "--workers", "1"]) == 0
    (project / "train.sh").write_text(blocks(guide, "bash")[0])
    shell = (
        study.replace('"prices"', '"shell"').replace("python train.py", "sh train.sh").replace("budget=20", "budget=4")
    )
    (project / "shell.py").write_text(shell)
    assert run(["run", "shell.py", "--workers", "1"]) == 0
    assert capsys.readouterr().out.count("best 88") > 0


def test_nothing_in_the_tree_names_this_machine(root: Path) -> None:
    if shutil.which("git") is None or not (root / ".git").exists():
        pytest.skip("not a git checkout")
    files = subprocess.run(["git", "ls-files"], cwd=root, capture_output=True, text=True, check=True).stdout.split()
    here = f"{root}/"
    assert [f for f in files if (root / f).is_file() and here in (root / f).read_text(errors="ignore")] == []
