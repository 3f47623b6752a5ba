"""The files that a training is made of: found without running any, and compared by their content."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from caviar.studies.errors import CodeMissing
from caviar.studies.lifecycle.code_files import code_files, digest


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is the working directory and on Python's path."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def write(folder: Path, **files: str) -> None:
    """Write files by their name, in which `__` stands for a slash."""
    for name, content in files.items():
        file = folder / f"{name.replace('__', '/')}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)


def test_what_a_module_imports_from_the_project_counts_and_nothing_else(project: Path) -> None:
    write(
        project,
        my_tune="import os\nimport torch, caviar\nfrom my_nets import mlp\nimport my_data.shop\nraise SystemExit",
        my_nets__mlp="from . import layers\nfrom .deep.blocks import Block as B\n",
        my_nets__layers="import my_tune\n",
        my_nets__deep__blocks="def f():\n    from ..extra import z\n",
        my_nets__extra="",
        my_nets__unused="",
        my_data__shop="this is no Python",
        other="",
    )
    (project / "my_nets" / "deep" / "__init__.py").write_text("")
    assert list(code_files(["my_tune:train"])) == [
        "my_data/shop.py", "my_nets/deep/__init__.py", "my_nets/deep/blocks.py", "my_nets/extra.py",
        "my_nets/layers.py", "my_nets/mlp.py", "my_tune.py",
    ]  # fmt: skip


def test_all_files_of_a_package_count_that_imports_by_names_made_at_run_time(project: Path) -> None:
    registry = "import importlib\nfor name in NAMES:\n    importlib.import_module(f'my_zoo.{name}')\n"
    write(project, my_zoo__registry=registry, my_zoo__resnet="", my_zoo__deep__vit="", my_tune="import my_zoo.registry")
    found = list(code_files(["my_tune:train"]))
    assert found == ["my_tune.py", "my_zoo/deep/vit.py", "my_zoo/registry.py", "my_zoo/resnet.py"]


def test_installed_packages_do_not_count_even_inside_the_project(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = project / ".venv" / "lib" / "site-packages"
    write(installed, my_dependency="")
    monkeypatch.syspath_prepend(installed)
    write(project, my_tune="import my_dependency\nimport json\n")
    assert list(code_files(["my_tune:train"])) == ["my_tune.py"]
    assert list(code_files(["my_dependency:Net"])) == ["my_dependency.py"]  # named by the study
    assert list(code_files(["json:tool"])) == ["json/__init__.py"]


def test_caviars_own_classes_are_no_code_of_the_users(project: Path) -> None:
    assert code_files(["caviar.models.mlp:MLP"]) == {}
    assert code_files([]) == {}


def test_several_paths_are_one_training(project: Path) -> None:
    write(project, my_tune="import my_loss", my_loss="", my_data="")
    assert list(code_files(["my_tune:train", "my_data:load"])) == ["my_data.py", "my_loss.py", "my_tune.py"]


def test_a_module_that_is_not_here_is_named(project: Path) -> None:
    with pytest.raises(CodeMissing, match=r"no module my_nets\.gone; give the command in the folder that has my_nets"):
        code_files(["my_nets.gone:Net"])


def test_a_command_s_files_count_and_what_they_import(project: Path) -> None:
    write(project, scripts__train="import steps\nimport shop.models", scripts__steps="", shop__models="", shop__cli="")
    (project / "base.yaml").write_text("")
    (project / "package").mkdir()
    write(project, package__main="import package.other", package__other="")
    here = "python scripts/train.py --config=base.yaml --lr {learning_rate} --out {folder} 2>log.txt /etc/passwd .. ''"
    assert list(code_files([], here)) == ["base.yaml", "scripts/steps.py", "scripts/train.py"]
    assert list(code_files([], "python -m package.main --x 'unclosed")) == ["package/main.py", "package/other.py"]
    (project / "link").symlink_to("/etc/passwd")
    assert code_files([], "cat link ../other /etc/hosts " + "x" * 5000) == {}


def test_a_larger_budget_is_no_other_code(tmp_path: Path) -> None:
    file = tmp_path / "tune.py"
    text = "import caviar\n\nSTUDY = caviar.Study(\n    name='a', budget={budget},\n)\nRATE: float = {rate}  # é\n"
    seen = {}
    for budget, rate in ((40, 0.1), (60, 0.1), (60, 0.2)):
        file.write_text(text.format(budget=budget, rate=rate))
        seen[budget, rate] = digest(file)
    assert seen[40, 0.1] == seen[60, 0.1] != seen[60, 0.2]
    for content in (b"\xff\xfe", b"STUDY = Study(", b"A = 1; STUDY = Study(x=1); B = 2\n", b"A = 1; B = 2\n"):
        file.write_bytes(content)
        assert len(digest(file)) == 64


def test_no_code_is_run(project: Path) -> None:
    write(project, my_pkg__net="open('ran', 'w')\nimport my_pkg.other", my_pkg__other="open('ran', 'w')")
    (project / "my_pkg" / "__init__.py").write_text("open('ran', 'w')")
    assert len(code_files(["my_pkg.net:Net"])) == 3
    assert not (project / "ran").exists()
    assert not {name for name in sys.modules if name.startswith("my_pkg")}
