"""The built wheel in somebody else's environment: its content, and a project whose own packages have Caviar's names."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZipFile

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import URL

pytestmark = pytest.mark.slow

NET = """
import os
from pathlib import Path

import models
from caviar.models.mlp import MLP


class Net(MLP):
    def __init__(self, *arguments, **options):
        Path({seen!r}, str(os.getpid())).write_text(models.__file__)
        super().__init__(*arguments, **options)
"""
STUDY = """
from caviar import Log, Study

STUDY = Study(
    name="tuned", model="models.net:Net", data="digits", epochs=1, budget=3, pruner="none",
    tiers=[{"learning_rate": Log(1e-4, 1, default=0.1)}], fixed={"batch_size": 512},
)
"""
SCRIPT = "import caviar\nfrom tune import STUDY\n\nprint(caviar.run(STUDY, workers=2))\n"
OF_CAVIAR = "import caviar; print(caviar.__file__)"


@dataclass(frozen=True)
class Environment:
    """A virtual environment with Caviar in it, outside of the clone."""

    folder: Path

    @property
    def python(self) -> str:
        return str(self.folder / "bin" / "python")

    @property
    def caviar(self) -> str:
        return str(self.folder / "bin" / "caviar")

    def home_of_caviar(self, cwd: Path) -> Path:
        """Return the folder that `import caviar` finds."""
        found = subprocess.run([self.python, "-c", OF_CAVIAR], cwd=cwd, capture_output=True, text=True, check=True)
        return Path(found.stdout.strip()).parent


def new_environment(folder: Path, *what: str) -> Environment:
    """Make an environment that sees this one's packages, but not this one's Caviar, and install Caviar into it.

    Nothing is downloaded: a line in a .pth file adds a folder of packages, whose own .pth files are not read.
    """
    made = Environment(folder)
    venv.create(folder, symlinks=True)
    packages = [path for path in sys.path if path.endswith("site-packages")]
    (own,) = folder.glob("lib/python*/site-packages")
    (own / "packages_of_the_tests.pth").write_text("\n".join(packages) + "\n")
    subprocess.run(
        [sys.executable, "-m", "pip", "--quiet", "--python", made.python, "install", "--no-deps", "--no-index",
         "--no-build-isolation", "--ignore-installed", *what],
        check=True,
    )  # fmt: skip
    return made


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "pip", "--quiet", "wheel", "--no-deps", "--no-index", "--no-build-isolation",
         "--wheel-dir", str(folder), str(root)],
        check=True,
    )  # fmt: skip
    (built,) = folder.glob("caviar-*.whl")
    return built


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Environment:
    return new_environment(tmp_path_factory.mktemp("elsewhere") / "venv", str(wheel))


@dataclass(frozen=True)
class Project:
    """Somebody's project, with packages of the names that Caviar's own folders have."""

    folder: Path
    environment: Environment
    url: str

    def run(self, *command: str, cwd: Path | None = None) -> str:
        """Run a command in the project's folder, or in another one, and return what it printed."""
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
        environ |= {"CAVIAR_DATABASE_URL": self.url, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            command, cwd=cwd or self.folder, env=environ, text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}: {done.stdout}"
        return done.stdout

    def trials(self, study: str = "tuned") -> list[str]:
        """Return the states of a study's trials."""
        found = json.loads(self.run(self.environment.caviar, "trials", study, "--json", cwd=self.folder.parent))
        return [trial["state"] for trial in found]

    def check_models(self, processes: int) -> None:
        """Check that as many processes at least made a network, and that each of them has the project's `models`."""
        seen = {file.read_text() for file in (self.folder / "seen").iterdir()}
        assert seen == {str(self.folder / "models" / "__init__.py")}
        pids = {int(file.name) for file in (self.folder / "seen").iterdir()}
        assert len(pids) >= processes
        engine = create_engine(self.url)
        with engine.connect() as connection:
            trained = set(connection.scalars(text("SELECT w.pid FROM caviar.slot s JOIN caviar.worker w "
                                                  "USING (worker_id) WHERE s.state = 'done'")))  # fmt: skip
        engine.dispose()
        assert trained <= pids


@pytest.fixture
def project(tmp_path: Path, elsewhere: Environment, new_database: Callable[..., URL]) -> Project:
    folder = tmp_path / "project"
    for package in ("models", "storage", "studies", "data"):
        (folder / package).mkdir(parents=True)
        (folder / package / "__init__.py").write_text(f'"""The {package} of this project."""\n')
    (folder / "seen").mkdir()
    (folder / "models" / "net.py").write_text(NET.format(seen=str(folder / "seen")))
    (folder / "tune.py").write_text(STUDY)
    (folder / "search.py").write_text(SCRIPT)
    return Project(folder, elsewhere, new_database(empty=True).render_as_string(hide_password=False))


def test_the_wheel_has_the_whole_package_and_nothing_else(wheel: Path, root: Path) -> None:
    if not (root / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", "src", "models", "storage", "studies"],
        cwd=root, capture_output=True, text=True, check=True,
    )  # fmt: skip
    tracked = {Path(file) for file in listed.stdout.split() if (root / file).is_file()}
    expected = {str(Path("caviar", *(f.parts[2:] if f.parts[0] == "src" else f.parts))) for f in tracked}
    names = {name for name in ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert names == expected
    assert {"caviar/py.typed", "caviar/__init__.pyi", "caviar/storage/migrations/env.py"} <= names


def test_a_project_with_packages_of_the_same_names_runs_joins_and_pandas(project: Project, root: Path) -> None:
    command = project.environment.caviar
    assert root not in project.environment.home_of_caviar(project.folder).parents
    project.run(command, "run", "tune.py", "--workers", "2")
    assert project.trials() == ["complete"] * 3
    project.run(command, "extend", "tuned", "--budget", "5")
    project.run(command, "join", "tuned")
    assert project.trials() == ["complete"] * 5
    project.run(command, "panda", "start", "baby", "--study", "tune.py")
    project.run(command, "panda", "train", "baby")
    project.check_models(processes=3)


def test_a_script_runs_a_study(project: Project) -> None:
    project.run(project.environment.python, "search.py")
    assert project.trials() == ["complete"] * 3
    project.check_models(processes=2)


def test_a_study_file_is_given_by_its_path_from_another_folder(project: Project) -> None:
    project.run(project.environment.caviar, "run", "project/tune.py", "--workers", "2", cwd=project.folder.parent)
    assert project.trials() == ["complete"] * 3
    project.check_models(processes=2)


def test_optunas_own_command_takes_the_documented_address(project: Project) -> None:
    project.run(project.environment.caviar, "run", "tune.py", "--budget", "1")
    assert project.url.startswith("postgresql+psycopg2://")
    optuna = "from optuna.cli import main; raise SystemExit(main())"
    said = project.run(project.environment.python, "-c", optuna, "studies", "--storage", project.url, "-f", "json")
    (study,) = json.loads(said[said.index("[{") :])
    assert (study["name"], study["n_trials"]) == ("tuned", 1)


@pytest.mark.parametrize("how", [("--editable",), ()], ids=["editable", "copied"])
def test_pip_installs_the_clone(how: tuple[str, ...], tmp_path: Path, root: Path) -> None:
    made = new_environment(tmp_path / "venv", *how, str(root))
    home = made.home_of_caviar(tmp_path)
    assert home == (root / "src" / "caviar" if how else home)
    assert (root in home.parents) is bool(how)
    said = subprocess.run([made.caviar, "--version"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "caviar" in said.stdout.lower()
