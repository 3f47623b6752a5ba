"""Generated bad input: each call ends in one line and exit code 2, and changes no row and no file.

`BAD_INPUT_EXAMPLES=2000 BAD_INPUT_SEED=7` makes another, longer series; `make bad-input` takes a seed of its own.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, seed, settings
from sqlalchemy import Engine, text

from caviar.studies.cli import run
from tests.helpers.bad_files import calls_with_files
from tests.helpers.bad_input import PANDA, STUDY, Call, calls_of_commands
from tests.helpers.pandas import born, days
from tests.helpers.studies import small_study
from tests.helpers.workers import register, worker

EXAMPLES = int(os.environ.get("BAD_INPUT_EXAMPLES", "150"))
SEED = int(os.environ.get("BAD_INPUT_SEED", "1"))
_SECONDS = 60  # for one call; what never ends is reported with its call
_ROWS = "SELECT '{0}:' || count(*) || ':' || coalesce(sum(hashtextextended(CAST(t AS text), 0)), 0) FROM {0} t"


class Scene:
    """A database with a study and a panda, a home, and a folder that the calls are made in."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self._engine, self._folder = engine, folder
        self.inputs = folder / "inputs"
        with engine.connect() as connection:
            tables = connection.scalars(
                text("SELECT table_schema || '.' || table_name FROM information_schema.tables "
                     "WHERE table_schema IN ('caviar', 'public') ORDER BY 1")
            ).all()  # fmt: skip
        self._rows = text(f"SELECT array[{', '.join(f'({_ROWS.format(table)})' for table in tables)}]")

    def state(self) -> tuple[list[str], set[Path]]:
        """Return a digest of all rows of each table, and all files but the calls' own."""
        with self._engine.connect() as connection:
            rows = list(connection.execute(self._rows).scalar_one())
        files = {path for path in self._folder.rglob("*") if self.inputs not in (path, *path.parents)}
        return rows, files

    def make(self, call: Call) -> tuple[int, bytes, str]:
        """Make a call in this process; return its exit code, and what it printed on stdout and on stderr."""
        shutil.rmtree(self.inputs, ignore_errors=True)
        self.inputs.mkdir()
        for name, content in call.files.items():
            (self.inputs / name).write_bytes(content)
        for name in [
            name for name in sys.modules if name.startswith(("caviar_study_", "model_under_test", "data_under_test"))
        ]:
            del sys.modules[name]
        path = list(sys.path)
        words = [word.replace("{folder}", str(self.inputs)) for word in call.words]
        variables = {name: value.replace("{folder}", str(self.inputs)) for name, value in call.environ.items()}
        out = io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True)  # as strict as a terminal's
        err = io.TextIOWrapper(io.BytesIO(), "utf-8", "backslashreplace", write_through=True)
        try:
            with _environ(variables), _ending(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                code = run(words)
        finally:
            sys.path[:] = path
        return code, out.buffer.getvalue(), err.buffer.getvalue().decode()  # type: ignore[attr-defined]


@contextlib.contextmanager
def _environ(variables: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _ending() -> Iterator[None]:
    def late(*_: object) -> None:
        raise AssertionError(f"it has not ended after {_SECONDS} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture
def scene(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    monkeypatch.setenv("CAVIAR_DATABASE_URL", engine.url.render_as_string(hide_password=False))
    record, study = register(engine, name=STUDY)
    assert study == small_study(name=STUDY)
    worker(engine, record, study).run()
    days(engine, born(engine, PANDA))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return Scene(engine, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(0)
def test_bad_input_is_one_line_and_changes_nothing(scene: Scene) -> None:
    print(f"BAD_INPUT_EXAMPLES={EXAMPLES} BAD_INPUT_SEED={SEED}")
    states = [scene.state()]  # of the database and the files, after each call

    @seed(SEED)
    @settings(max_examples=EXAMPLES, database=None, suppress_health_check=list(HealthCheck))
    @given(calls_of_commands | calls_with_files)
    def check(call: Call) -> None:
        code, out, err = scene.make(call)
        assert code in call.codes, err
        states.append(scene.state())
        (rows, files), (rows_after, files_after) = states[-2:]
        assert files_after - files == files - files_after == set()
        assert [pair for pair in zip(rows, rows_after, strict=True) if pair[0] != pair[1]] == []
        if code != 0:
            assert out == b""
            lines = err.rstrip("\n").splitlines()
            assert lines[-1].startswith("caviar: "), err
            assert [line for line in lines[:-1] if not _is_remark(line)] == []
            assert len(lines[-1]) < 2_100

    check()


def _is_remark(line: str) -> bool:
    """Return whether a line that stands before the error is one that has a right to: what a user's own file prints."""
    return line == "words" or line.startswith(
        ("other users of this machine can see a password", "installing a PostgreSQL")
    )
