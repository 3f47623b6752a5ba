"""The file of a site's settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from caviar.studies.errors import OptionError
from caviar.studies.launch.scheduler import SchedulerKind
from caviar.studies.launch.site import Site, read_site
from caviar.studies.launch.template import write_template


@pytest.mark.parametrize("kind", SchedulerKind)
def test_a_file_that_was_just_written_says_nothing_but_defaults(tmp_path: Path, kind: SchedulerKind) -> None:
    assert read_site(write_template(kind, tmp_path / "site.toml")) == Site()


@pytest.mark.parametrize("kind", SchedulerKind)
def test_each_example_of_it_can_be_taken(tmp_path: Path, kind: SchedulerKind) -> None:
    file = write_template(kind, tmp_path / "site.toml")
    lines = file.read_text().splitlines()
    file.write_text("\n".join(line.removeprefix("# ") if " = " in line else line for line in lines))
    site = read_site(file)
    assert site.worker.setup == ("source .venv/bin/activate",)
    assert site != Site(worker=site.worker) or kind is SchedulerKind.RAY


def test_a_file_that_is_there_stays(tmp_path: Path) -> None:
    file = tmp_path / "site.toml"
    file.write_text("[slurm]\npartition = 'gpu'\n")
    with pytest.raises(OptionError, match="already"):
        write_template(SchedulerKind.SLURM, file)
    assert read_site(file).slurm.partition == "gpu"


def test_a_file_that_cannot_be_written_or_is_no_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"none/site.toml cannot be written \(No such file or directory\)"):
        write_template(SchedulerKind.SLURM, tmp_path / "none" / "site.toml")
    (tmp_path / "site.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(OptionError, match=r"site.toml cannot be read .*utf-8"):
        read_site(tmp_path / "site.toml")


def test_without_a_file_there_are_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert read_site() == Site()
    with pytest.raises(OptionError, match=r"other.toml cannot be read .* caviar launch init"):
        read_site(tmp_path / "other.toml")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[slurm", "is not TOML"),
        ("[slurm]\npartitoin = 'gpu'", "did you mean partition"),
        ("[slurm]\ncpu = 4", "did you mean cpus\\?"),
        ("[worker]\nenvironment = { AWS_SECRET_ACCESS_KEY = 'x' }", "may hold a password"),
        ("[slrum]\npartition = 'gpu'", "did you mean slurm"),
        ("[slurm]\ncpus = 'many'", "cpus.*integer"),
        ("[slurm]\ncpus = -1", "cpus.*0 or more"),
        ("[slurm]\nrunning = -1", "running.*0 or more"),
        ('[slurm]\npartition = "a\\nb"', "control character"),
        ("[ray]\ncpus = inf", "ray.cpus"),
        (
            "[kubernetes]\nimage = 'me/project :1'",
            r"kubernetes.image: give one as registry/me/project:1, not 'me/",
        ),
        ("[kubernetes]\nimage = '-x'", "kubernetes.image"),
        ("[kubernetes]\nnamespace = 'Research'", "kubernetes.namespace: give at most 63 lower-case letters"),
        ("[kubernetes]\nsecret = ''", "kubernetes.secret"),
        ("[kubernetes]\nqueue = 'a_b'", "kubernetes.queue"),
        ("[kubernetes]\ncpus = '0'", 'kubernetes.cpus: give cores such as "4" or "500m", not \'0\''),
        ("[kubernetes]\ncpus = 'many'", "kubernetes.cpus"),
        ("[kubernetes]\nmemory = '8'", "kubernetes.memory: give a size such as"),  # bytes
        ("[kubernetes]\nmemory = '8 GB'", "kubernetes.memory"),
        ("[kubernetes]\ngpu = 'nvidia gpu'", "kubernetes.gpu"),
        ("[kubernetes]\nnode_selector = { 'a b' = 'c' }", "kubernetes.node_selector"),
        ("[kubernetes]\nnode_selector = { a = 'b c' }", "kubernetes.node_selector"),
        ("[kubernetes]\nvolumes = { Data = '/data' }", "kubernetes.volumes"),
        ("[kubernetes]\nvolumes = { data = 'data' }", "kubernetes.volumes.*a path from / on"),
        ("[kubernetes.pod]\ncontainers = []", "kubernetes.pod: Caviar writes containers itself"),
        ("[kubernetes.pod]\nactiveDeadlineSeconds = 60", "Caviar writes activeDeadlineSeconds itself"),
        ("[kubernetes.pod]\nrestartPolicy = 'Always'", "Caviar writes restartPolicy itself"),
        ("[worker]\nenvironment = { 'A B' = 'x' }", "worker.environment.*letters, digits and _"),
        ("[worker]\nenvironment = { CAVIAR_DATABASE_URL = 'x' }", "CAVIAR_DATABASE_URL_FILE"),
        ("[worker]\nenvironment = { X = 'postgresql://a:b@c/d' }", "variable X may hold a password"),
        ("[worker]\nenvironment = { PGPASSWORD = 'x' }", "variable PGPASSWORD may hold a password"),
        ("[worker]\nenvironment = { HF_TOKEN = 'x' }", "variable HF_TOKEN may hold a password"),
    ],
)
def test_what_is_wrong_in_it_is_named(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "site.toml"
    file.write_text(text)
    with pytest.raises(OptionError, match=said) as caught:
        read_site(file)
    assert "site.toml" in str(caught.value)
    assert "\n" not in str(caught.value)
