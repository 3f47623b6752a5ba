"""The commit of the user's code: what it is, and that no message has a password of its repository."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from caviar.studies.lifecycle.commits import commit_of, without_credentials


def git(folder: Path, *words: str) -> str:
    name = ["-c", "user.name=a", "-c", "user.email=a@b"]
    return subprocess.check_output(["git", *name, *words], cwd=folder, stderr=subprocess.DEVNULL).decode().strip()


def test_a_commit_says_whether_the_files_are_in_it(tmp_path: Path) -> None:
    tune, other = tmp_path / "tune.py", tmp_path / "other.py"
    for file in (tune, other):
        file.write_text("a = 1\n")
    assert commit_of([tune]) is None
    git(tmp_path, "init")
    assert commit_of([tune]) is None  # nothing is committed
    git(tmp_path, "add", "tune.py")
    git(tmp_path, "commit", "-m", "first")
    sha = git(tmp_path, "rev-parse", "HEAD")
    found = commit_of([tune])
    assert found is not None
    assert (found.name, found.remote) == (sha, None)
    assert commit_of([tune, other]).name == f"{sha}-dirty"  # type: ignore[union-attr]
    (tmp_path / ".gitignore").write_text("other.py\n")
    assert commit_of([tune, other]).name == f"{sha}-dirty"  # type: ignore[union-attr]
    tune.write_text("a = 2\n")
    git(tmp_path, "remote", "add", "origin", "https://ann:secret@host.example/shop.git?token=1")
    changed = commit_of([tune])
    assert changed is not None
    assert (changed.name, changed.remote) == (f"{sha}-dirty", "https://host.example/shop.git")
    assert commit_of([]) is None


def test_without_git_there_is_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert commit_of([Path(__file__)]) is None


@pytest.mark.parametrize(
    ("remote", "shown"),
    [
        ("https://ann:token@github.com/a/b.git", "https://github.com/a/b.git"),
        ("https://token@github.com:8443/a/b", "https://github.com:8443/a/b"),
        ("https://x@y@github.com/a/b#c", "https://github.com/a/b"),
        ("ssh://git:pw@host:22/a/b", "ssh://git@host:22/a/b"),
        ("git@github.com:a/b.git", "git@github.com:a/b.git"),
        ("/home/ann/repos/b", None),
        ("file:///home/ann/repos/b", None),
        ("origin", None),
        ("ext::sh -c echo% secret", None),
        ("https://[bad/a", None),
        ("", None),
    ],
)
def test_a_remote_is_shown_without_credentials(remote: str, shown: str | None) -> None:
    assert without_credentials(remote) == shown
