"""What is submitted to Ray, and what is refused; test_ray.py has real nodes."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy.engine import URL, make_url

from caviar.studies.errors import ExtraMissing, LaunchFailed, OptionError
from caviar.studies.launch.ray_cluster import RayCluster
from caviar.studies.launch.ray_driver import connected
from caviar.studies.launch.request import LaunchRequest
from caviar.studies.launch.site import Site, read_site
from tests.helpers.documents import blocks

OPEN, SECRET = "postgresql+psycopg2://me@db/studies", "postgresql+psycopg2://me:s3cret@db/studies"
BY_FILE = {"worker": {"environment": {"CAVIAR_DATABASE_URL_FILE": "/etc/caviar/url"}}}


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> URL:
    """An address of a database, which the environment names."""
    monkeypatch.setenv("CAVIAR_DATABASE_URL", request.param)
    return make_url(request.param)


def ray(**site: Any) -> RayCluster:
    return RayCluster(Site.model_validate(site))


def values(program: str) -> dict[str, Any]:
    """Return the constants that a program gives names to."""
    given = [line for line in ast.parse(program).body if isinstance(line, ast.Assign)]
    return {ast.unparse(line.targets[0]): ast.literal_eval(line.value) for line in given[1:]}


@pytest.mark.parametrize("address", [OPEN], indirect=True)
def test_the_program_says_what_each_actor_has(address: URL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    own = ray(ray={"address": "10.0.0.1:6379", "cpus": 2},
              worker={"command": "/opt/caviar", "environment": {"A": "it's"}})  # fmt: skip
    own.check_database(address)
    program = own.text(LaunchRequest("My.net", 8, 0.5, grace=30))
    assert values(program) == {
        "arguments": ["join", "My.net", "--restartable", "--gpus", "all", "--grace", "30"],
        "environment": {"working_dir": str(tmp_path), "env_vars": {"A": "it's", "CAVIAR_DATABASE_URL": OPEN}},
    }
    assert "job = 'caviar-my-net-' + secrets" in program
    assert "connected('10.0.0.1:6379', environment)" in program
    assert 'ray.remote(lifetime="detached", max_restarts=-1, num_cpus=2, num_gpus=0.5)(Worker)' in program
    assert "range(1, 8 + 1)" in program
    assert "remote(arguments, caviar='/opt/caviar', leaving=70)" in program


@pytest.mark.parametrize("address", [SECRET, OPEN + "?password=s3cret"], indirect=True)
def test_a_password_goes_to_no_cluster(address: URL) -> None:
    with pytest.raises(OptionError, match=r"Ray's dashboard .* CAVIAR_DATABASE_URL_FILE = .* \.pgpass") as caught:
        ray().check_database(address)
    assert "s3cret" not in str(caught.value)
    by_file = ray(**BY_FILE)
    by_file.check_database(address)
    program = by_file.text(LaunchRequest("small"))
    assert values(program)["environment"]["env_vars"] == {"CAVIAR_DATABASE_URL_FILE": "/etc/caviar/url"}
    assert "s3cret" not in program


@pytest.mark.parametrize("address", [OPEN], indirect=True)
def test_another_database_than_the_workers_is_refused(address: URL) -> None:
    with pytest.raises(OptionError, match="instead of --database-url"):
        ray().check_database(address.set(database="others"))
    ray(**BY_FILE).check_database(address.set(database="others"))  # as nodes may reach it by another address


def test_a_file_of_the_folder_is_not_taken_for_ray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("json.py").write_text("import pathlib\npathlib.Path('imported').touch()\n")
    monkeypatch.setattr("caviar.studies.launch.ray_cluster._PROGRAM", "import json\nprint('caviar-small-1')\n")
    assert ray(**BY_FILE).submit(LaunchRequest("small")) == "caviar-small-1"
    assert not Path("imported").exists()


def test_an_image_has_the_project_already() -> None:
    program = ray(ray={"folder": ""}, **BY_FILE).text(LaunchRequest("small"))
    assert "working_dir" not in values(program)["environment"]


def test_what_ray_cannot_do_is_said() -> None:
    with pytest.raises(OptionError, match=r"--time: Ray ends no actor .* caviar launch stop small"):
        ray().text(LaunchRequest("small", seconds=3600))
    with pytest.raises(OptionError, match=r"\[ray\] folder = nowhere: there is no such folder"):
        ray(ray={"folder": "nowhere"}, **BY_FILE).text(LaunchRequest("small"))


def test_the_settings_in_the_guide_make_a_program(tmp_path: Path, root: Path) -> None:
    found = blocks(root / "docs" / "guides" / "ray.md", "toml")
    assert found
    for number, text in enumerate(found):
        (tmp_path / f"{number}.toml").write_text(text)
        ast.parse(RayCluster(read_site(tmp_path / f"{number}.toml")).text(LaunchRequest("small")))


@pytest.mark.parametrize("job", ["", "--help", "a b", "caviar-A", "../x", "somebody-elses", "caviar-" + "x" * 100])
def test_a_job_that_the_database_names_goes_nowhere_unless_it_is_a_name(job: str) -> None:
    with pytest.raises(LaunchFailed, match="no name of a job"):
        ray().tasks(job)
    with pytest.raises(LaunchFailed, match="no name of a job"):
        ray().stop(job)


def test_without_ray_the_message_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("caviar.studies.launch.ray_cluster.find_spec", lambda name: None)
    with pytest.raises(ExtraMissing, match=r"caviar launch --on ray needs ray; .* pip install '\.\[ray\]'"):
        ray().tasks("caviar-small-1")


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch) -> Callable[[Exception], list[str]]:
    """Puts a Ray in place that connects to nothing; returns what is called afterwards."""

    def refuse(error: Exception) -> list[str]:
        def init(*_: Any, **__: Any) -> None:
            raise error

        calls = list[str]()
        monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(init=init, shutdown=lambda: calls.append("shutdown")))
        return calls

    return refuse


def test_an_error_of_the_cluster_s_is_its_last_line(refusing: Callable[[Exception], list[str]]) -> None:
    calls = refusing(RuntimeError("Traceback (most recent call last):\n  File a.py\nOSError: no space left\n"))
    with pytest.raises(SystemExit, match=r"^RuntimeError: OSError: no space left$"), connected("auto"):
        pass
    assert calls == ["shutdown"]


def test_without_a_cluster_the_message_says_how_to_start_one(refusing: Callable[[Exception], list[str]]) -> None:
    refusing(ConnectionError("Could not find any running Ray instance.\nMore of it"))
    with pytest.raises(SystemExit) as caught, connected("auto"):
        pass
    assert str(caught.value) == (
        "no cluster answers at 'auto' (Could not find any running Ray instance.); give this on a machine of the "
        "cluster; one on this machine alone begins with: ray start --head"
    )
