"""Who won a study whose tables other Optuna programs write to: its own trials alone, in every command."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState, create_trial
from sqlalchemy import Engine, text

from caviar.storage.definitions import load_study
from caviar.storage.records import StudyRecord
from caviar.studies.cli import run
from caviar.studies.definition import Study
from caviar.studies.lifecycle.manager import definition_of, extend_study
from caviar.studies.results.winner import standings
from tests.helpers.faulty_net import Net, with_fault
from tests.helpers.workers import register, worker

Interference = Callable[[optuna.Study, Study], None]


def best_of_all(study: Study) -> optuna.trial.FrozenTrial:
    """A trial better than any that was trained, with hyperparameters of its own."""
    values = {scale.stored_name(name): scale.to_stored(scale.value(0.31)) for name, scale in study.scales().items()}
    return create_trial(params=values, distributions=study.distributions(), value=0.9999)


def add(program: optuna.Study, study: Study) -> None:
    program.add_trial(best_of_all(study))


def add_without_values(program: optuna.Study, study: Study) -> None:
    program.add_trial(create_trial(value=0.9999))


def enqueue(program: optuna.Study, study: Study) -> None:
    program.enqueue_trial(best_of_all(study).params)


def ask(program: optuna.Study, study: Study) -> None:
    program.ask(study.distributions())


def ask_and_tell(program: optuna.Study, study: Study) -> None:
    program.tell(program.ask(study.distributions()), 0.9999)
    program.tell(program.ask(), state=TrialState.FAIL)


def copy(program: optuna.Study, study: Study) -> None:
    storage = program._storage
    optuna.copy_study(from_study_name="small", from_storage=storage, to_storage=storage, to_study_name="copied")


def number_again(program: optuna.Study, study: Study) -> None:
    """Add a trial that gets the number of one of the study's own: Optuna counts the rows."""
    program.add_trial(best_of_all(study))
    storage: Any = program._storage
    with storage._backend.engine.begin() as connection:
        connection.execute(
            text("UPDATE public.trials SET number = 0 WHERE trial_id = (SELECT max(trial_id) FROM public.trials)")
        )


INTERFERENCES = [add, add_without_values, enqueue, ask, ask_and_tell, copy, number_again]


@pytest.fixture
def address(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> str:
    url = engine.url.render_as_string(hide_password=False)
    monkeypatch.setenv("CAVIAR_DATABASE_URL", url)
    return url


@pytest.fixture
def finished(engine: Engine) -> tuple[StudyRecord, Study]:
    """A study that is done, and not yet measured on the test set."""
    record, study = register(engine, epochs=2, budget=4, pruner="none")
    worker(engine, record, study).run()
    return record, study


def interfere(address: str, study: Study, how: Interference) -> None:
    how(optuna.load_study(study_name="small", storage=address), study)


def checkpoints(engine: Engine) -> list[int]:
    with engine.connect() as connection:
        return list(connection.scalars(text("SELECT slot FROM caviar.checkpoint ORDER BY slot")))


def documents(capsys: pytest.CaptureFixture[str], folder: Path) -> dict[str, Any]:
    """What the commands say of a study that is done, but for the number of other programs' trials."""

    def said(*arguments: str) -> Any:
        assert run(list(arguments)) == 0
        return json.loads(capsys.readouterr().out)

    said_by = {name: said(name, "small", "--json") for name in ("status", "trials", "curves", "best", "importance")}
    report = said("report", "small", "--json")
    assert said_by["status"].pop("others")["made"] == report["cost"].pop("others")
    said_by["report"] = {name: report[name] for name in ("winner", "runner_up", "cost", "trials", "answers")}
    assert run(["export", "small", "--to", str(folder / "trials.json")]) == 0
    said_by["export"] = json.loads((folder / "trials.json").read_text())
    capsys.readouterr()
    return said_by


@pytest.mark.parametrize("how", INTERFERENCES)
def test_what_another_optuna_program_adds_changes_no_answer_and_no_checkpoint(
    engine: Engine, address: str, finished: tuple[StudyRecord, Study], how: Interference,
    capsys: pytest.CaptureFixture[str], tmp_path: Path,
) -> None:  # fmt: skip
    record, study = finished
    before, weights, winner = documents(capsys, tmp_path), checkpoints(engine), standings(engine, record).winner
    assert winner is not None
    assert winner.trial in weights
    interfere(address, study, how)
    assert documents(capsys, tmp_path) == before
    found = standings(engine, record)
    assert found.winner == winner
    assert [t.number for t in found.trials] == [0, 1, 2, 3]
    assert found.runner_up == before["report"]["runner_up"]
    run(["doctor", "--fix", "--json"])
    capsys.readouterr()
    assert winner.trial in checkpoints(engine)  # its weights are needed for the test, which is still to come
    # To its end: measured on the test set, compared with the runner-up, and tuned again.
    assert run(["join", "small"]) == 0
    assert f"winner: trial {winner.trial}" in capsys.readouterr().out
    assert run(["best", "small", "--confirm", "2", "--json"]) == 0
    best = json.loads(capsys.readouterr().out)
    assert (best["trial"], best["confirmation"]["runner_up"]) == (winner.trial, found.runner_up)
    assert best["test"] is not None
    assert run(["retune", "small", "--name", "again"]) == 0
    prior = definition_of(load_study(engine, "again")).prior
    assert len(prior) == 4
    trials = {t["trial"]: t["hyperparameters"] for t in before["trials"]}
    assert prior[0].values == trials[winner.trial]
    assert run(["panda", "start", "po", "--from", "small:best"]) == 0
    capsys.readouterr()
    assert run(["panda", "log", "po", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["origin"]["trial"] == winner.trial
    assert checkpoints(engine)[0] == winner.trial


@pytest.mark.parametrize(("fault", "reason"), [("exit", "it calls sys.exit(0)"), ("raise", "ValueError: wrong shape")])
def test_a_model_that_fails_in_the_test_is_said_in_one_line(
    engine: Engine, address: str, fault: str, reason: str, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    record, study = with_fault(engine, "none", epochs=1, budget=1)
    worker(engine, record, study).run()
    with monkeypatch.context() as patch:
        patch.setattr(Net, "forward", lambda net, x: failing(fault))
        assert run(["join", "small"]) == 1
        told = capsys.readouterr().err
        assert f"trial 0 of 'small' won, but could not be measured on the test set: {reason}" in told
        assert "Traceback" not in told
    assert run(["join", "small"]) == 0
    assert "winner: trial 0" in capsys.readouterr().out


def failing(fault: str) -> None:
    if fault == "exit":
        sys.exit(0)
    raise ValueError("wrong shape")


@pytest.mark.parametrize("how", [add, enqueue, ask])
def test_a_study_that_is_extended_goes_on_though_its_next_number_is_taken(
    engine: Engine, address: str, finished: tuple[StudyRecord, Study], how: Interference,
    capsys: pytest.CaptureFixture[str], tmp_path: Path,
) -> None:  # fmt: skip
    record, study = finished
    interfere(address, study, how)  # its number is 4
    record = extend_study(engine, record, 6)
    worker(engine, record, definition_of(record)).run()
    said_by = documents(capsys, tmp_path)
    assert (said_by["status"]["state"], said_by["status"]["complete"]) == ("done", 6)
    assert [t["trial"] for t in said_by["trials"] if t["state"] == "complete"] == list(range(6))
    best = max(said_by["trials"], key=lambda t: (t["value"], -t["trial"]))
    assert said_by["best"]["trial"] == said_by["report"]["winner"]["trial"] == best["trial"]
    assert len(standings(engine, record).trials) == 6
    run(["doctor", "--fix", "--json"])
    assert best["trial"] in checkpoints(engine)


def test_of_a_study_that_another_program_deletes_every_command_says_so(
    address: str, finished: tuple[StudyRecord, Study], capsys: pytest.CaptureFixture[str]
) -> None:
    optuna.delete_study(study_name="small", storage=address)
    for command in ("status", "trials", "curves", "best", "report", "importance", "join"):
        assert run([command, "small"]) == 2
        assert "caviar: " in capsys.readouterr().err
    assert run(["doctor", "--fix"]) in (0, 1)
