"""Run, status, best, the report and the note in Optuna's dashboard say the same of what to do next."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from sqlalchemy import Engine, text

import caviar
from caviar.storage.control import set_control
from caviar.storage.states import Control
from caviar.storage.test_results import write_test
from caviar.studies.cli import run
from caviar.studies.definition import change
from caviar.studies.lifecycle.loader import select_study
from caviar.studies.lifecycle.manager import open_study
from caviar.studies.lifecycle.provenance import provenance_of
from caviar.studies.results.conclusion import conclude
from caviar.studies.results.formatting import number
from caviar.studies.search.prospect import Prospect, prospect_of
from tests.helpers.live import let_run, statements
from tests.helpers.pandas import born, days
from tests.helpers.studies import small_study
from tests.helpers.trainings import register_training
from tests.helpers.workers import register, worker

Say = Callable[..., str]


@pytest.fixture
def say(engine: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    monkeypatch.setenv("CAVIAR_DATABASE_URL", engine.url.render_as_string(hide_password=False))

    def said(*arguments: str) -> str:
        assert run(list(arguments)) == 0
        return capsys.readouterr().out

    return said


def listed(said: str) -> list[str]:
    """The commands below `next:`, in their order."""
    _, _, after = said.partition("\nnext: ")
    return [line.partition("  (")[0].strip() for line in after.splitlines()]


def in_note(engine: Engine, optuna_study_id: int) -> list[str]:
    query = text("""SELECT value_json FROM public.study_system_attributes
                    WHERE study_id = :study AND key = 'dashboard:note_str:0'""")
    with engine.connect() as connection:
        note = json.loads(connection.scalar(query, {"study": optuna_study_id}) or '""')
    return re.findall(r"^\d+\. `([^`]+)`", note, re.MULTILINE)


def noises(say: Say) -> str:
    """The one thing that the terminal and the report say of the noise of a training."""
    everywhere = " ".join("".join(say(command, "small") for command in ("status", "best", "report")).split())
    (said,) = set(re.findall(r"one training differs from another by [0-9.e-]+ \(from [^)]*\)", everywhere))
    assert len(set(re.findall(r"differs? (?:from another )?by ([0-9.e-]+)", everywhere))) == 1
    return said


def in_page(say: Say, study: str, file: Path) -> list[str]:
    say("report", study, "-o", str(file))
    (items,) = re.findall(r'<ol class="steps">(.*?)</ol>', file.read_text(), re.DOTALL)
    return re.findall(r"<code>(.*?)</code>", items)


def test_all_say_the_same_when_a_study_is_done_and_when_it_is_confirmed(
    engine: Engine, say: Say, tmp_path: Path
) -> None:
    record, study = register(engine, epochs=6, budget=20)
    worker(engine, record, study).run()
    of_run = listed(say("run", "small"))
    assert of_run[:2] == ["caviar report small --open", "caviar best small --confirm 5"]
    assert "caviar best small --save small-model" in of_run

    def same() -> list[str]:
        of_status = listed(say("status", "small"))
        assert listed(say("best", "small")) == listed(say("report", "small")) == of_status
        assert in_note(engine, record.optuna_study_id) == of_status
        assert listed(say("join", "small")) == of_status  # which writes the note, too
        # The page is what its first step leads to.
        assert in_page(say, "small", tmp_path / "x.html") == of_status[1:]
        facts = json.loads(say("report", "small", "--json"))
        assert [step["command"] for step in facts["steps"]] == of_status
        assert [step.command for step in caviar.next_steps("small", database=engine)] == of_status
        return of_status

    assert same() == of_run
    assert "one training differs from another by" in noises(say)
    assert "fresh" not in noises(say)
    say("best", "small", "--confirm", "3")
    assert "caviar best small --confirm 5" not in same()
    assert noises(say).endswith("(from fresh trainings)")
    say("extend", "small", "--budget", "22")
    assert in_note(engine, record.optuna_study_id) == listed(say("status", "small")) == ["caviar join small"]


def test_weights_are_to_be_saved_only_where_a_training_keeps_some(engine: Engine, say: Say) -> None:
    record, study = register_training(engine, "with_latency", pruner="none")  # which keeps nothing
    worker(engine, record, study).run()
    assert "caviar best own --confirm 5" in listed(say("best", "own"))
    assert not [step for step in listed(say("best", "own")) if "--save" in step]


def test_a_study_without_a_test_set_has_a_winner_in_the_status_and_the_list(engine: Engine, say: Say) -> None:
    record, study = register_training(engine, "with_latency", pruner="none")
    worker(engine, record, study).run()
    won = json.loads(say("best", "own", "--json"))["trial"]
    of_status = json.loads(say("status", "own", "--json"))
    (of_list,) = json.loads(say("ls", "--json"))["studies"]
    assert of_status["winner"] == of_list["winner"] == {"trial": won, "value": of_status["best"]["value"]}
    assert of_status["prospect"] is None  # of so few trials
    say("extend", "own", "--budget", "99")
    assert json.loads(say("status", "own", "--json"))["winner"] is None  # others may still win
    assert json.loads(say("ls", "--json"))["studies"][0]["winner"] is None


@pytest.mark.parametrize("command", ["status", "best"])
def test_the_trials_of_a_study_are_read_and_modelled_once(
    engine: Engine, say: Say, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, study = register(engine, epochs=2, budget=20, pruner="none")
    worker(engine, record, study).run()
    conclude(engine, record, Path("nowhere"))
    prospects: list[int] = []

    def counted(*given: Any) -> Prospect | None:
        prospects.append(1)
        return prospect_of(*given)

    monkeypatch.setattr("caviar.studies.results.winner.prospect_of", counted)
    with statements(Engine) as sent:
        assert "caviar report small --open" in say(command, "small")
    assert len(prospects) == 1
    of_json = json.loads(say(command, "small", "--json"))
    assert of_json["prospect"]["trials"] == 40
    assert of_json["prospect"]["noise"]["deviation"] > 0
    assert len(prospects) == 2
    of_test = [one for one in sent if "test_result" in one]
    assert len(of_test) <= 3, of_test  # which has won, here and for the status; and what was measured
    # One more than today: what is read a second time takes more.
    assert len(sent) <= {"status": 45, "best": 28}[command], [" ".join(one.split())[:80] for one in sent]


def test_a_study_that_is_not_done_says_the_same_everywhere(engine: Engine, say: Say, tmp_path: Path) -> None:
    record = open_study(engine, small_study())
    states = {
        "waiting": ["caviar join small"],
        "paused": ["caviar resume small"],
        "stopped": ["caviar resume small", "caviar join small"],
        "running": ["caviar status small --watch", "caviar join small"],
    }
    for state, steps in states.items():
        if state == "running":
            set_control(engine, record.study_id, Control.RUN)
            let_run(engine, record, 0, 0.5)
        elif state != "waiting":
            set_control(engine, record.study_id, Control.PAUSE if state == "paused" else Control.STOP)
        for command in ("status", "best", "report"):
            assert listed(say(command, "small")) == steps, (state, command)
        assert in_page(say, "small", tmp_path / f"{state}.html") == steps


@pytest.mark.parametrize("strategy", ["random", "optuna:TPESampler(n_startup_trials=2)"])
def test_no_command_of_the_list_is_refused_for_a_study_of_the_catalog_with_other_options(
    engine: Engine, say: Say, strategy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:  # where training would begin
        raise KeyboardInterrupt

    monkeypatch.setattr("caviar.studies.api.running.supervise", interrupted)
    monkeypatch.setattr("webbrowser.open", lambda _: True)
    study = change(select_study("digits"), budget=4, seed=3, strategy=strategy)
    record = open_study(engine, study, provenance_of(study, tmp_path))
    given = set()

    def give(folder: str) -> None:
        (tmp_path / folder).mkdir()
        monkeypatch.chdir(tmp_path / folder)  # one that has no model yet
        for step in caviar.next_steps("digits", database=engine):
            if not re.search("--confirm|extend", step.command):  # that trains for long; that begins it once more
                given.add(step.reason.name)
                assert run(shlex.split(step.command)[1:]) in (0, 130), step

    give("before")
    worker(engine, record, study).run()
    give("done")
    assert {"BEGIN", "MEASURE", "LOOK", "USE", "HOLDS"} <= given
    again = caviar.plan("digits-2", database=engine)
    assert (again.budget, again.strategy) == (4, strategy)
    assert "caviar join digits-2" in [step.command for step in caviar.next_steps("digits", database=engine)]
    give("after")
    assert caviar.status("digits", database=engine).winner is not None


def test_what_cannot_be_compared_is_not_listed(engine: Engine, say: Say) -> None:
    record, study = register(engine, epochs=2, budget=8, pruner="none")
    worker(engine, record, study).run()
    for name, fields in {
        "small-2": {"metric": "validation_loss", "direction": "minimize"}, "small-random": {"strategy": "random"},
    }.items():  # fmt: skip
        register(engine, name=name, **fields)
    steps = listed(say("best", "small"))
    assert "caviar join small-random" in steps
    assert not [step for step in steps if "small-2" in step]
    say("delete", "small-random", "--yes")
    assert any(step.endswith("--name small-random") for step in listed(say("best", "small")))
    born(engine, name="small-random")
    assert not [step for step in listed(say("best", "small")) if "small-random" in step]


def test_a_parent_that_another_optuna_program_deleted_is_not_compared(engine: Engine, say: Say) -> None:
    record, study = register(engine, epochs=2, budget=8, pruner="none")
    worker(engine, record, study).run()
    conclude(engine, record, Path("nowhere"))
    say("retune", "small", "--name", "small-wider", "--widen", "learning_rate")
    parent = caviar.status("small-wider", database=engine).parent
    assert parent is not None
    assert parent.is_there
    optuna.delete_study(study_name="small", storage=engine.url.render_as_string(hide_password=False))
    parent = caviar.status("small-wider", database=engine).parent
    assert parent is not None
    assert not parent.is_there


def test_a_panda_says_the_same_in_its_journal_and_in_best(engine: Engine, say: Say) -> None:
    days(engine, born(engine))
    of_best = listed(say("best", "baby"))
    assert of_best[-2:] == ["caviar report baby --open", "caviar best baby --save baby-model"]
    assert "caviar panda train baby" in of_best
    for command in (("status", "baby"), ("panda", "log", "baby"), ("report", "baby")):
        lines = [line.strip().partition("  (")[0] for line in say(*command).splitlines()]
        assert lines[-len(of_best) :] == of_best, command


def test_a_retuned_study_names_its_parent_and_is_to_be_compared_with_it(
    engine: Engine, say: Say, tmp_path: Path
) -> None:
    record, study = register(engine, epochs=2, budget=8, pruner="none")
    worker(engine, record, study).run()
    conclude(engine, record, Path("nowhere"))
    say("retune", "small", "--name", "small-wider", "--widen", "learning_rate")
    status = json.loads(say("status", "small-wider", "--json"))
    assert status["parent"]["study"] == "small"
    assert status["parent"]["changes"] == [
        "learning_rate 0.0001 … 1, log, default 0.1 before, 1e-05 … 10, log, default 0.1 now"
    ]
    assert "retuned from small, whose trial" in say("status", "small-wider")
    of_history = " ".join(say("history", "small-wider").split())
    assert "retuned from small, whose trial" in of_history
    assert "changed: learning_rate 0.0001 … 1" in of_history
    assert "of_id" not in of_history
    say("run", "small-wider")
    assert "caviar compare small small-wider" in listed(say("best", "small-wider"))
    assert json.loads(say("report", "small-wider", "--json"))["parent"]["is_there"] is True
    assert "Retuned from small, whose trial" in say("report", "small-wider")
    say("report", "small-wider", "-o", str(tmp_path / "x.html"))
    assert "It was retuned from small, whose trial" in (tmp_path / "x.html").read_text()
    assert "it begins with what 'small' knew" in " ".join(say("status", "small-wider").split())
    say("delete", "small", "--yes")
    assert "no longer in the database" in " ".join(say("status", "small-wider").split())
    assert "caviar compare small small-wider" not in listed(say("best", "small-wider"))


def test_where_another_trial_won_than_has_the_best_value_status_and_the_list_say_so(engine: Engine, say: Say) -> None:
    record, study = register(engine, epochs=2, budget=8, pruner="none")
    worker(engine, record, study).run()
    best = caviar.status("small", database=engine).best
    assert best is not None
    other = next(t.trial for t in caviar.trials("small", database=engine) if t.trial != best.trial)
    write_test(engine, record.study_id, other, {"accuracy": 0.9})  # as if it had been measured before the best one came
    reason = f"trial {best.trial} came to {number(best.value)}: the winner was measured on the test set before"
    for command in ("status", "best", "report"):
        assert reason in " ".join(say(command, "small").split()), command
    assert f"small: trial {other} won, not {best.trial}; why: caviar best small" in say("ls")
    assert json.loads(say("status", "small", "--json"))["winner"]["trial"] == other
