"""`caviar enqueue`: the next trial has the values that somebody asks for, inside the budget."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable

import optuna
import pytest
from optuna.trial import TrialState
from sqlalchemy import Engine

import caviar
from caviar.storage.errors import NoSlotLeft
from caviar.storage.events import read_events
from caviar.storage.states import EventKind
from caviar.storage.status import read_trials
from caviar.studies.cli import run
from caviar.studies.lifecycle.manager import progress
from tests.helpers.pandas import born
from tests.helpers.workers import register, worker

Said = Callable[..., tuple[str, str]]


@pytest.fixture
def said(engine: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Said:
    monkeypatch.setenv("CAVIAR_DATABASE_URL", engine.url.render_as_string(hide_password=False))

    def say(*words: str, code: int = 0) -> tuple[str, str]:
        assert run(list(words)) == code, capsys.readouterr()
        printed = capsys.readouterr()
        return printed.out, printed.err

    return say


def test_the_next_trials_have_the_values_and_the_search_chooses_the_others(engine: Engine, said: Said) -> None:
    record, study = register(engine, budget=5, epochs=1)
    out, _ = said("enqueue", "small", "learning_rate=0.0123", "momentum=0.95")
    assert "the next trial of 'small' that begins has learning_rate 0.0123  momentum 0.95" in out
    assert "after 1 that wait already" in said("enqueue", "small", "layers=4")[0]
    assert "and 2 enqueued trials, which the next slots take" in said("status", "small")[0]
    worker(engine, record, study).run()
    trials = [study.values(t.parameters) for t in read_trials(engine, record.study_id)]
    assert trials[0]["learning_rate"] == 0.1
    assert (trials[1]["learning_rate"], trials[1]["momentum"]) == (0.0123, 0.95)
    assert trials[2]["layers"] == 4
    now = progress(engine, record)
    assert (now.complete + now.pruned, now.budget, now.others.made) == (5, 5, 0)
    events = read_events(engine, record.study_id, EventKind.ENQUEUED)
    assert [e.detail["values"] for e in events] == [{"learning_rate": 0.0123, "momentum": 0.95}, {"layers": 4}]
    assert "@" in events[0].detail["by"]


def test_it_is_as_optunas_client_writes_it(engine: Engine) -> None:
    register(engine, budget=5)
    program = optuna.load_study(study_name="small", storage=engine.url.render_as_string(hide_password=False))
    program.enqueue_trial({"learning_rate": 0.02})
    assert caviar.enqueue("small", {"learning_rate": 0.03}, database=engine) == caviar.Enqueued(
        {"learning_rate": 0.03}, ahead=1, optuna_number=1
    )
    theirs, ours = program.get_trials(deepcopy=False)
    assert (theirs.state, theirs.params, theirs.datetime_start) == (ours.state, ours.params, ours.datetime_start)
    assert ours.state == TrialState.WAITING
    assert ours.system_attrs == {"fixed_params": {"learning_rate": 0.03}}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["learning_rate=7"], "learning_rate = 7 is outside its range"),
        (["batch_size=65"], "batch_size = 65 lies between two of its values, 64 and 128: 64 … 512, powers of two"),
        (["batch_size=1024"], "batch_size = 1024 is outside its range: 64 … 512, powers of two"),
        (["learning_rate=fast"], "learning_rate = 'fast' is outside its range"),
        (["rate=0.1"], "rate is no hyperparameter of the study; it searches: learning_rate"),
        (["learning_rate"], "'learning_rate' is no setting; give name=value"),
        (["layers=3", "layers=4"], "'layers' is given twice"),
        ([], "Missing argument"),
    ],
)
def test_what_no_trial_can_have_is_refused_and_nothing_is_written(
    engine: Engine, said: Said, words: list[str], message: str
) -> None:
    record, _ = register(engine)
    assert message in said("enqueue", "small", *words, code=2)[1]
    assert progress(engine, record).others.made == 0
    assert read_events(engine, record.study_id, EventKind.ENQUEUED) == []


def test_no_more_are_taken_than_the_budget_has_room_for(engine: Engine, said: Said) -> None:
    register(engine, budget=4)  # of which one is the default configuration
    answers = list[str]()

    def ask(number: int) -> None:
        try:
            caviar.enqueue("small", {"learning_rate": 0.01 * number}, database=engine)
            answers.append("taken")
        except NoSlotLeft as error:
            answers.append(str(error))

    asked = [threading.Thread(target=ask, args=(number,)) for number in range(1, 6)]
    for thread in asked:
        thread.start()
    for thread in asked:
        thread.join()
    assert sorted(answers)[2:] == ["taken"] * 3
    assert sorted(answers)[0].endswith(
        "the 3 trial(s) that have not begun are taken already; give it more with: caviar extend small --budget N"
    )
    said("extend", "small", "--budget", "5")
    assert json.loads(said("enqueue", "small", "layers=3", "--json")[0])["ahead"] == 3


def test_a_study_that_is_done_and_a_panda_take_none(engine: Engine, said: Said) -> None:
    record, study = register(engine, budget=3, epochs=1)
    worker(engine, record, study).run()
    assert "every trial has begun; give it more" in said("enqueue", "small", "layers=3", code=2)[1]
    born(engine)
    assert "'baby' is a panda" in said("enqueue", "baby", "learning_rate=0.1", code=2)[1]
    assert "no study 'none'" in said("enqueue", "none", "learning_rate=0.1", code=2)[1]
