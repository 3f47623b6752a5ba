"""Optuna's tests with several processes, from its source distribution, on a database where Caviar has studies."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
from importlib.metadata import version
from pathlib import Path

import pytest
from sqlalchemy import Engine

from caviar.studies.results.conclusion import conclude
from tests.helpers.workers import register, worker

pytestmark = pytest.mark.optuna


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Optuna's source distribution of the installed version, from the package index."""
    folder = tmp_path_factory.mktemp("optuna")
    optuna = f"optuna=={version('optuna')}"
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--no-binary", "optuna", "--dest", str(folder), optuna], check=True)
    (archive,) = folder.glob("optuna-*.tar.gz")
    with tarfile.open(archive) as file:
        file.extractall(folder, filter="data")
    return next(folder.glob("optuna-*/"))


def test_processes_and_threads_on_one_server(source: Path, engine: Engine) -> None:
    """Two studies of Caviar's, one of them done, are there before and after."""
    register(engine, name="open")
    record, study = register(engine, name="done")
    worker(engine, record, study).run()
    conclude(engine, record, Path("nowhere"))
    address = engine.url.render_as_string(hide_password=False)
    suite = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/storages_tests/test_with_server.py"]
    environ = {**os.environ, "TEST_DB_URL": address, "PYTHONPATH": ""}
    done = subprocess.run(suite, cwd=source, env=environ, capture_output=True, text=True, timeout=800, check=False)
    assert done.returncode == 0, done.stdout
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed
    assert int(passed[1]) >= 26, done.stdout
