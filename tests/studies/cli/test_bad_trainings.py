"""Bad studies of trainings of one's own, by the commands: one clear line each, and nothing that is half-made.

What can be seen before is refused with exit code 2 by `plan`, `check` and `run` alike. What only the training shows is
an error of `check`, and the reason of the first trial that `run` fails. With -s the figures are printed, and each line
as a person reads it.

Of those that have to be trained, which takes seconds each, some stand for all: `BAD_TRAININGS=all` trains all of them,
and a part of their names those that have it.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from caviar.storage.definitions import load_study
from caviar.storage.states import TrialState
from caviar.storage.status import read_trials
from caviar.studies.cli import run
from caviar.text import printable
from tests.helpers.bad_trainings import FAILING, REFUSED, Bad

_LONGEST = 600  # characters of a message
_CHOICE = os.environ.get("BAD_TRAININGS")  # `all`, or a part of the names of those that are tried
_STEP = 6  # of which one is trained by default
_ALWAYS = "shape"  # in the names of those that show that an error of PyTorch's in C++ ends no worker


class Scene:
    """A database, a home and a project for each bad study.

    Attributes:
        faults: what is wrong with the answers so far.
        figures: how often each exit code came.
    """

    def __init__(self, engine: Engine, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.engine, self._folder, self._monkeypatch = engine, folder, monkeypatch
        self.faults, self.figures = list[str](), Counter[str]()
        with engine.connect() as connection:
            self._tables = connection.scalars(
                text("SELECT table_schema || '.' || table_name FROM information_schema.tables "
                     "WHERE table_schema IN ('caviar', 'public') ORDER BY 1")
            ).all()  # fmt: skip

    def rows(self) -> dict[str, int]:
        """Return the number of rows of each table."""
        counts = ", ".join(f"(SELECT count(*) FROM {table})" for table in self._tables)
        with self.engine.connect() as connection:
            return dict(zip(self._tables, connection.execute(text(f"SELECT {counts}")).one(), strict=True))

    def half_made(self, study_id: int) -> int:
        """Return how many trials, slots and workers of a study have not come to their end."""
        query = """
            SELECT (SELECT count(*) FROM public.trials JOIN caviar.slot USING (trial_id)
                    WHERE slot.study_id = :study AND trials.state <> 'FAIL')
                 + (SELECT count(*) FROM caviar.slot WHERE study_id = :study AND (state <> 'done' OR trial_id IS NULL))
                 + (SELECT count(*) FROM caviar.worker WHERE study_id = :study AND ended_at IS NULL)
        """
        with self.engine.connect() as connection:
            return int(connection.scalar(text(query), {"study": study_id}) or 0)

    def enter(self, bad: Bad, name: str) -> set[Path]:
        """Make the project of a bad study the working directory; return its files."""
        folder = self._folder / name
        folder.mkdir()
        bad.write(folder, name)
        self._monkeypatch.chdir(folder)
        return self.files()

    def files(self) -> set[Path]:
        """Return all files of the home and of the working directory, but for logs and what Python has compiled."""
        found = {path for path in self._folder.rglob("*") if path.is_file() or path.is_fifo()}
        return {path for path in found if not {"logs", "__pycache__"} & set(path.parts) and path.name != "lock"}

    def call(self, *words: str) -> tuple[int, str, str]:
        """Make a call in this process; return its exit code, and what it printed on stdout and on stderr."""
        for module in ("tune", "broken", "caviar_study_tune"):
            sys.modules.pop(module, None)
        path, out, err = list(sys.path), io.StringIO(), io.StringIO()
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                code = run(list(words))
        finally:
            sys.path[:] = path
        self.figures[f"{words[0]}: exit code {code}"] += 1
        return code, out.getvalue(), err.getvalue()

    def judge(self, bad: Bad, what: str, line: str, is_right: bool) -> None:
        """Take note of a line that is not right; print it as a person reads it."""
        said = printable(line.replace(f"{Path.cwd()}/", ""))
        told = all(part in said for part in bad.told)
        is_clear = told and "\n" not in said and len(said) < _LONGEST and "Traceback" not in said and said.isprintable()
        print(f"{'' if is_right and is_clear else 'WRONG: '}{bad}: {what}: {said}")
        if not (is_right and is_clear):
            self.faults.append(f"{bad}: {what}: {said}")


@pytest.fixture
def scene(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    monkeypatch.setenv("CAVIAR_DATABASE_URL", engine.url.render_as_string(hide_password=False))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return Scene(engine, tmp_path, monkeypatch)


def chosen(studies: list[Bad], step: int = 1) -> Iterator[tuple[str, Bad]]:
    """Yield the bad studies that are to be tried, one of so many by default, each with a name for its study."""
    for number, bad in enumerate(studies):
        by_default = number % step == 0 or _ALWAYS in str(bad)
        if _CHOICE == "all" or (by_default if _CHOICE is None else _CHOICE in str(bad)):
            yield f"bad-{number}", bad


def test_there_are_many_bad_studies() -> None:
    names = [str(bad) for bad in (*REFUSED, *FAILING)]
    assert len(set(names)) == len(names)
    assert len({bad.told for bad in (*REFUSED, *FAILING)}) > 100


@pytest.mark.slow
def test_what_is_seen_before_is_refused_in_one_line(scene: Scene) -> None:
    rows = scene.rows()
    for name, bad in chosen(REFUSED):
        files = scene.enter(bad, name)
        answers = [scene.call(command, "tune.py") for command in ("plan", "check", "run")]
        code, out, err = answers[0]
        unchanged = scene.rows() == rows and scene.files() == files
        same = answers[1:] == [answers[0]] * 2 and (code, out) == (2, "")
        scene.judge(bad, "refused", err.removeprefix("caviar: ").removesuffix("\n"), same and unchanged)
    print(*sorted(scene.figures.items()), sep="\n")
    assert scene.faults == []


@pytest.mark.slow
def test_what_the_training_shows_is_found_by_check_and_the_reason_of_a_failed_trial(scene: Scene) -> None:
    for name, bad in chosen(FAILING, _STEP):
        files = scene.enter(bad, name)
        assert scene.call("plan", "tune.py")[0] == 0, bad
        code, out, _ = scene.call("check", "tune.py", "--json")
        errors = [found["told"] for found in json.loads(out)["findings"] if found["level"] == "error"]
        is_found = (code, len(errors)) == (1, 1) if bad.seen_by_check else code == 0
        scene.call("run", "tune.py", "--budget", "2" if bad.way == "objective" else "1")  # one for each tier
        study_id = load_study(scene.engine, name).study_id
        trial, *_ = read_trials(scene.engine, study_id)
        is_failed = trial.state == TrialState.FAIL and scene.half_made(study_id) == 0 and scene.files() == files
        scene.judge(bad, f"check {code} {errors}, run", str(trial.attributes["why it stopped"]), is_found and is_failed)
        scene.figures["failed trials"] += trial.state == TrialState.FAIL
    print(*sorted(scene.figures.items()), sep="\n")
    assert scene.faults == []


def test_a_misspelt_metric_ends_the_run_with_its_first_trial(scene: Scene) -> None:
    (bad,) = [bad for bad in FAILING if str(bad) == "train, the_metric_by_another_name"]
    scene.enter(bad, "misspelt")
    code, out, _ = scene.call("run", "tune.py")
    stopped, then = [line for line in out.splitlines() if line.startswith(("stopped: ", "1 of 4 trials"))]
    assert code == 1
    assert "it never measured loss; did you mean los? it measured los; no trial has measured loss so far: " in stopped
    assert "caviar delete misspelt" in then
    states = [trial.state for trial in read_trials(scene.engine, load_study(scene.engine, "misspelt").study_id)]
    assert states == [TrialState.FAIL, *[TrialState.OPEN] * 3]
