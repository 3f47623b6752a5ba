"""The commit that the user's code is at, and where it can be had: for messages, since only the files are compared."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

_SECONDS = 10.0  # a repository on a slow network drive is not worth more


@dataclass(frozen=True)
class Commit:
    """A commit of a git repository.

    Attributes:
        name: its SHA, with `-dirty` behind it if one of the files differs from what is committed.
        remote: the address of the repository, without credentials; None if there is none that others could reach.
    """

    name: str
    remote: str | None


def commit_of(files: Collection[Path]) -> Commit | None:
    """Return the commit of the repository in which files are; None where there is none, or no git."""
    folder = next((file.parent for file in files), None)
    name = None if folder is None else _git(folder, "rev-parse", "--verify", "HEAD")
    if folder is None or not name:
        return None
    changed = _git(folder, "status", "--porcelain", "--ignored", "--", *map(str, files))
    remote = _git(folder, "ls-remote", "--get-url")
    return Commit(f"{name}-dirty" if changed or changed is None else name, without_credentials(remote or ""))


def without_credentials(remote: str) -> str | None:
    """Return a repository's address without user, password and token; None for a folder of this machine."""
    if re.fullmatch(r"[\w.-]+@[\w.-]+:[^:]+", remote):  # git@host:path, in which no password can stand
        return remote
    try:
        parts = urlsplit(remote)
    except ValueError:
        return None
    if parts.scheme not in ("https", "http", "ssh", "git") or not parts.hostname:
        return None
    host = parts.netloc.rpartition("@")[2]
    user = f"{parts.username}@" if parts.scheme == "ssh" and parts.username else ""
    return f"{parts.scheme}://{user}{host}{parts.path}"


def _git(folder: Path, *words: str) -> str | None:
    """Return what a git command prints; None if it fails. It writes nothing, and runs no program of the repository."""
    try:
        done = subprocess.run(
            ["git", "-c", "core.fsmonitor=false", *words],
            cwd=folder, env={**os.environ, "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"},
            stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS, check=False,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode(errors="replace").strip() if done.returncode == 0 else None
