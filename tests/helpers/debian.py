"""Programs of Debian's packages, unpacked into a folder of this user's cache without being installed."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Never

import platformdirs
import pytest

# Of this user, and not of a test, which has a home of its own: as this module is imported before any test runs.
_CACHE = Path(platformdirs.user_cache_dir("caviar-tests", appauthor=False)) / "debian"


def unpacked(*packages: str) -> Path:
    """Return a folder with the files of packages, as if it were /; skip the test where they cannot be had.

    They are fetched once. The packages that these depend on have to be named, too.
    """
    _CACHE.mkdir(parents=True, exist_ok=True)
    folder = _CACHE / f"{packages[0]}-{hashlib.sha256(' '.join(packages).encode()).hexdigest()[:8]}"
    with folder.with_suffix(".lock").open("w") as lock:  # for tests in several processes
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            with tempfile.TemporaryDirectory(dir=_CACHE) as scratch:
                _fetch(packages, Path(scratch))
                (Path(scratch) / "root").rename(folder)
    return folder


def cannot_test(reason: str) -> Never:
    """Skip a test of a foreign program that is not here, but fail it where CAVIAR_TESTS_NEED_PROGRAMS is set, as in CI:
    what is always skipped is seen by nobody."""
    if os.environ.get("CAVIAR_TESTS_NEED_PROGRAMS"):
        pytest.fail(reason)
    pytest.skip(reason)


def _fetch(packages: tuple[str, ...], folder: Path) -> None:
    if missing := [program for program in ("apt-get", "dpkg") if shutil.which(program) is None]:
        cannot_test(f"{packages[0]} is fetched from Debian, and there is no {missing[0]} here")
    download = ["apt-get", "download", "--quiet", *packages]
    done = subprocess.run(download, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:  # a machine that has no lists yet
        subprocess.run(["apt-get", "update", "--quiet"], capture_output=True, check=False)
        done = subprocess.run(download, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        cannot_test(f"{packages[0]} cannot be fetched from Debian: {done.stderr.strip().splitlines()[-1:]}")
    for package in folder.glob("*.deb"):
        subprocess.run(["dpkg", "-x", package, folder / "root"], check=True)
