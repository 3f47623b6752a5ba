"""The note on a study, as Optuna's dashboard gives it to a browser; and whose note is left alone."""

from __future__ import annotations

import json
from typing import Any
from wsgiref.util import setup_testing_defaults

import optuna
import pytest
from optuna_dashboard import save_note
from sqlalchemy import Engine, text

from caviar.storage.definitions import load_study
from caviar.storage.notes import write_note
from caviar.storage.records import StudyRecord
from caviar.studies.cli import run
from caviar.studies.dashboard.note import leave_note
from caviar.studies.dashboard.server import application
from caviar.studies.results.winner import read_winner
from tests.helpers.workers import register, worker


def shown(engine: Engine, record: StudyRecord) -> dict[str, Any]:
    """The note as the dashboard's own route gives it."""
    environ: dict[str, Any] = {}
    setup_testing_defaults(environ)
    path = f"/api/studies/{record.optuna_study_id}"
    body = b"".join(application(engine)({**environ, "PATH_INFO": path}, lambda *_: lambda _: None))
    note: dict[str, Any] = json.loads(body)["note"]
    return note


def test_the_dashboard_shows_what_the_study_is_and_at_its_end_who_won(engine: Engine) -> None:
    record, study = register(engine, budget=4, pruner="none")
    leave_note(engine, record)
    begun = shown(engine, record)
    assert begun["version"] == 1
    assert "To maximize accuracy of `mlp on digits`" in begun["body"]
    assert "- tier 1: `learning_rate`, 0.0001 … 1, log" in begun["body"]
    assert "here `one_minus_momentum`, 1 minus its value" in begun["body"]
    assert "here `log2_batch_size`, its exponent to the base 2" in begun["body"]
    assert "here `decay_or_floor`, where 0.0001 stands for 0" in begun["body"]
    assert "PED-ANOVA of the complete trials. `caviar importance small` asks a model" in begun["body"]
    worker(engine, record, study).run()
    winner = read_winner(engine, record)
    assert winner is not None
    for _ in range(2):  # the second time says nothing new, and writes nothing
        leave_note(engine, record, winner)
        ended = shown(engine, record)
        assert ended["version"] == 2
        assert f"**Winner: trial {winner.trial}**" in ended["body"]


def test_of_a_panda_it_says_that_each_trial_is_a_day(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CAVIAR_DATABASE_URL", engine.url.render_as_string(hide_password=False))
    assert run(["panda", "start", "baby", "--study", "digits", "--day", "2epochs"]) == 0, capsys.readouterr()
    note = shown(engine, load_study(engine, "baby"))
    assert note["version"] == 1
    assert "One model, babysat by Caviar day by day" in note["body"]
    assert "1. `caviar panda train baby` (the next day)" in note["body"]
    assert "trials of at most" not in note["body"]


def test_the_dashboard_names_the_metric_on_its_axes(engine: Engine) -> None:
    register(engine, metric="validation_loss", direction="minimize")
    address = engine.url.render_as_string(hide_password=False)
    assert optuna.load_study(study_name="small", storage=address).metric_names == ["validation_loss"]


@pytest.mark.parametrize("before", [True, False])
def test_a_persons_note_is_left_as_it_is(engine: Engine, before: bool) -> None:
    record, _ = register(engine)
    if before:
        leave_note(engine, record)
    address = engine.url.render_as_string(hide_password=False)
    save_note(optuna.load_study(study_name="small", storage=address), "my **own** words")
    leave_note(engine, record)
    assert shown(engine, record) == {"body": "my **own** words", "version": 1 + before}


@pytest.mark.parametrize("version", ["x", '"x"', "null"])
def test_a_note_whose_version_is_no_number_is_left_as_it_is(engine: Engine, version: str) -> None:
    record, _ = register(engine)
    with engine.begin() as connection:
        statement = (
            "INSERT INTO public.study_system_attributes (study_id, key, value_json) VALUES (:study, :key, :json)"
        )
        key = {"study": record.optuna_study_id, "key": "dashboard:note_ver"}
        connection.execute(text(statement), {**key, "json": version})
    assert not write_note(engine, record.optuna_study_id, "Caviar's")


def test_that_it_cannot_be_written_is_no_error(engine: Engine) -> None:
    record, _ = register(engine)
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE public.study_system_attributes RENAME TO elsewhere"))
    leave_note(engine, record)


def test_caviar_join_writes_who_won(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    record, study = register(engine, budget=4, pruner="none")
    worker(engine, record, study).run()
    monkeypatch.setenv("CAVIAR_DATABASE_URL", engine.url.render_as_string(hide_password=False))
    assert run(["join", "small"]) == 0
    winner = read_winner(engine, record)
    assert winner is not None
    assert f"**Winner: trial {winner.trial}**, accuracy" in shown(engine, record)["body"]
