"""`caviar best --confirm`: the winner and the runner-up trained again, what is kept of it, and how it is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

import caviar.studies.results.retraining
from caviar.models.cohort import Cohort
from caviar.models.seeding import derive
from caviar.models.training import Training
from caviar.storage.events import read_events
from caviar.storage.records import StudyRecord
from caviar.studies.cli import run
from caviar.studies.definition import Study
from caviar.studies.lifecycle.manager import open_study
from caviar.studies.lifecycle.provenance import provenance_of
from caviar.studies.results.conclusion import conclude
from tests.helpers.studies import small_study
from tests.helpers.workers import register, worker

Say = Callable[..., tuple[str, str]]


@pytest.fixture
def say(engine: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    monkeypatch.setenv("CAVIAR_DATABASE_URL", engine.url.render_as_string(hide_password=False))

    def said(*arguments: str, code: int = 0) -> tuple[str, str]:
        assert run(list(arguments)) == code
        return capsys.readouterr()

    return said


@pytest.fixture
def finished(engine: Engine) -> tuple[StudyRecord, Study]:
    record, study = register(engine, epochs=3, budget=8, pruner="none")
    worker(engine, record, study).run()
    return record, study


@pytest.fixture
def seeds(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The seeds of all trainings that are made, also of those that are only measured."""
    found: list[int] = []
    made = Training.__init__

    def note(self: Training, build: Any, settings: Any, data: Any, seed: int, *others: Any, **options: Any) -> None:
        found.append(seed)
        made(self, build, settings, data, seed, *others, **options)

    monkeypatch.setattr(Training, "__init__", note)
    return found


def kept(engine: Engine, record: StudyRecord) -> list[tuple[int | None, int]]:
    return [(e.slot, e.detail["training"]) for e in read_events(engine, record.study_id, "trained again")]


def test_the_winner_and_the_runner_up_are_trained_with_fresh_seeds_and_compared(
    engine: Engine, finished: tuple[StudyRecord, Study], say: Say, seeds: list[int]
) -> None:
    record, study = finished
    best = json.loads(say("best", "small", "--confirm", "4", "--json")[0])
    confirmed = best["confirmation"]
    trials = {t["trial"]: t for t in json.loads(say("trials", "small", "--json")[0])}
    other = trials[confirmed["runner_up"]]
    assert other["hyperparameters"] != trials[best["trial"]]["hyperparameters"]
    assert sorted(kept(engine, record)) == sorted((t, n) for t in (best["trial"], other["trial"]) for n in range(4))
    assert len(confirmed["winner_values"]) == len(confirmed["runner_up_values"]) == 4
    assert confirmed["better_by"] == pytest.approx(confirmed["winner_mean"] - confirmed["runner_up_mean"])
    assert confirmed["low"] <= confirmed["better_by"] <= confirmed["high"]
    # the test set is measured once, by the winner's own weights, which needs no training
    assert best["test"] is not None
    assert set(seeds) == {derive(study.seed, "again", t, n) for t in (best["trial"], other["trial"]) for n in range(4)}
    assert json.loads(say("best", "small", "--json")[0]) == best


def test_what_a_training_comes_to_is_what_its_seed_gives_alone(
    engine: Engine, finished: tuple[StudyRecord, Study], say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caviar.studies.results.retraining, "measure", lambda make, limit: (limit, 9.0))
    together = json.loads(say("best", "small", "--confirm", "3", "--json")[0])["confirmation"]
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM caviar.event WHERE kind = 'trained again'"))
    monkeypatch.setattr(caviar.studies.results.retraining, "measure", lambda make, limit: (1, 0.5))
    alone = json.loads(say("best", "small", "--confirm", "3", "--json")[0])["confirmation"]
    for name in ("winner_values", "runner_up_values"):
        assert together[name] == pytest.approx(alone[name], abs=0.01)
    assert len(set(alone["winner_values"] + alone["runner_up_values"])) > 2


def test_more_trainings_go_on_from_those_that_there_are_and_the_test_set_is_used_once(
    engine: Engine, finished: tuple[StudyRecord, Study], say: Say
) -> None:
    record, _ = finished
    first = json.loads(say("best", "small", "--confirm", "2", "--json")[0])
    with engine.connect() as connection:
        measured = connection.execute(text("SELECT * FROM caviar.test_result")).all()
    second = json.loads(say("best", "small", "--confirm", "3", "--json")[0])
    assert second["confirmation"]["winner_values"][:2] == first["confirmation"]["winner_values"]
    told, remarks = say("best", "small", "--confirm", "3")
    assert remarks == ""
    assert "trained again 3 times each with fresh seeds" in told
    assert "next: caviar report small --open" in told
    assert len(kept(engine, record)) == 6
    with engine.connect() as connection:
        assert connection.execute(text("SELECT * FROM caviar.test_result")).all() == measured
        assert connection.scalar(text("SELECT count(*) FROM public.trials")) == 8


def test_the_report_offers_it_and_then_shows_it(finished: tuple[StudyRecord, Study], say: Say) -> None:
    def answer() -> dict[str, Any]:
        found = json.loads(say("report", "small", "--json")[0])["answers"]
        return next(a for a in found if "runner-up" in a["question"])

    assert answer()["command"] in (None, "caviar best small --confirm 5")
    confirmed = json.loads(say("best", "small", "--confirm", "2", "--json")[0])["confirmation"]
    assert "trained again 2 times each" in answer()["answer"]
    told = {"better": "Yes", "worse": "No", "open": "It is not clear"}[confirmed["verdict"]]
    assert answer()["answer"].startswith(f"{told}: ")


def test_before_the_study_is_done_the_test_set_is_not_used(finished: tuple[StudyRecord, Study], say: Say) -> None:
    say("extend", "small", "--budget", "9")
    told, _ = say("best", "small", "--confirm", "2")
    assert "trained again 2 times each" in told
    assert "measured when the study is done" in told


def test_a_cohort_that_fails_is_trained_in_parts(
    engine: Engine, finished: tuple[StudyRecord, Study], say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Cohort.__init__

    def refuse(self: Cohort, members: Any) -> None:
        if len(members) > 2:
            raise RuntimeError("CUDA out of memory")
        made(self, members)

    monkeypatch.setattr(caviar.studies.results.retraining, "measure", lambda make, limit: (limit, 9.0))
    monkeypatch.setattr(Cohort, "__init__", refuse)
    say("best", "small", "--confirm", "4")
    assert len(kept(engine, finished[0])) == 8


def test_code_that_raises_is_one_line_and_what_was_finished_is_kept(
    engine: Engine, finished: tuple[StudyRecord, Study], say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = Training.epochs

    def epochs(self: Training, last: int, leave: Any = None) -> Any:
        if self.seed == broken:
            raise RuntimeError("no luck")
        return trained(self, last, leave)

    monkeypatch.setattr(caviar.studies.results.retraining, "measure", lambda make, limit: (1, 0.5))
    monkeypatch.setattr(Training, "epochs", epochs)
    best = json.loads(say("best", "small", "--json")[0])["trial"]
    broken = derive(finished[1].seed, "again", best, 1)
    _, told = say("best", "small", "--confirm", "3", code=1)
    assert "could not be trained again: RuntimeError: no luck" in told
    assert 1 <= len(kept(engine, finished[0])) < 6
    monkeypatch.undo()


def test_where_there_is_nothing_to_compare_it_is_one_line(engine: Engine, say: Say) -> None:
    register(engine)
    assert "no two complete trials of different values" in say("best", "small", "--confirm", "2", code=2)[1]
    assert "no study 'other'" in say("best", "other", "--confirm", "2", code=2)[1]
    assert "greater than or equal to 2" in say("best", "small", "--confirm", "1", code=2)[1]


def test_other_code_than_the_studys_is_refused(engine: Engine, say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    study = small_study(epochs=2, pruner="none")
    record = open_study(engine, study, provenance_of(study, Path("nowhere")))
    worker(engine, record, study).run()
    monkeypatch.setattr("caviar.models.fingerprint.code_digest", lambda: "another")
    assert "code of Caviar (" in say("best", "small", "--confirm", "2", code=2)[1]
    assert kept(engine, record) == []


@pytest.mark.slow
def test_ctrl_c_keeps_what_is_finished_and_the_same_command_goes_on(
    engine: Engine, say: Say, caviar: list[str], root: Path
) -> None:
    record, study = register(engine, epochs=60, budget=4, pruner="none")
    worker(engine, record, study).run()
    assert conclude(engine, record, Path("nowhere"))
    command = [*caviar, "best", "small", "--confirm", "500"]
    here = {**os.environ, "PYTHONPATH": str(root)}
    process = subprocess.Popen(command, env=here, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not kept(engine, record) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    told, remarks = process.communicate(timeout=60)
    assert process.returncode == 130, remarks
    assert told == "stopped; what is finished is kept; go on with: caviar best small --confirm 500\n"
    assert "Traceback" not in remarks
    found = kept(engine, record)
    assert 0 < len(found) < 1000
    counts = [sum(slot == trial for slot, _ in found) for trial in {slot for slot, _ in found}]
    assert len(counts) == 2
    assert "trained again" in say("best", "small")[0]
    say("best", "small", "--confirm", "2")
    assert kept(engine, record) == found
