"""`caviar retune`: a new study from an old one, registered and not yet run."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from sqlalchemy import Engine

from caviar.storage.definitions import load_study
from caviar.studies.cli import run
from caviar.studies.definition import change
from caviar.studies.lifecycle.manager import definition_of, open_study
from caviar.studies.results.winner import standings
from caviar.studies.space.scales import Choice
from tests.helpers.studies import small_study
from tests.helpers.workers import ledger, register, worker

Say = Callable[..., tuple[str, str]]


@pytest.fixture
def say(engine: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    monkeypatch.setenv("CAVIAR_DATABASE_URL", engine.url.render_as_string(hide_password=False))

    def said(*arguments: str, code: int = 0) -> tuple[str, str]:
        assert run(list(arguments)) == code
        return capsys.readouterr()

    return said


def test_a_study_is_tuned_again_from_its_winner(engine: Engine, say: Say) -> None:
    record, study = register(engine, budget=8)
    worker(engine, record, study).run()
    winner = standings(engine, record).winner
    assert winner is not None
    told, _ = say("retune", "small", "--name", "again", "--widen", "learning_rate", "--budget", "20")
    assert "again tries the winner of 'small' second, and learns from 8 of its trials" in told
    assert "(wider)" in told
    assert "run it with: caviar run again" in told
    after = definition_of(load_study(engine, "again"))
    assert (after.budget, after.seed, after.strategy, len(after.prior)) == (20, study.seed + 1, "tiered", 8)
    trials = json.loads(say("trials", "small", "--json")[0])
    assert json.loads(say("status", "again", "--json")[0])["state"] == "waiting"
    # it is run by its name, from the definition in the database, and goes on as any other
    again = load_study(engine, "again")
    worker(engine, again, after).run()
    assert json.loads(say("status", "again", "--json")[0])["state"] == "done"
    second = json.loads(say("trials", "again", "--json")[0])[1]
    assert (second["phase"], second["hyperparameters"]) == ("prior", trials[winner.trial]["hyperparameters"])


def test_a_file_without_the_prior_goes_on_with_the_study_that_has_it(engine: Engine, say: Say) -> None:
    record, study = register(engine, budget=8)
    worker(engine, record, study).run()
    say("retune", "small", "--name", "again", "--seed", str(study.seed))
    open_study(engine, change(study, name="again"))
    larger = open_study(engine, change(study, name="again", budget=12), accept=True)
    assert (definition_of(larger).budget, len(definition_of(larger).prior)) == (12, 8)
    tiers = [dict(tier) for tier in study.tiers]
    tiers[-1]["activation"] = Choice("relu", "gelu", default="relu")
    newer = small_study(name="again", budget=12, tiers=tuple(tiers), seed=study.seed)
    after = definition_of(open_study(engine, newer, accept=True))
    assert {known.values["activation"] for known in after.prior} == {"relu"}
    assert len(after.prior) == 8


def test_a_study_is_trained_longer(engine: Engine, say: Say) -> None:
    record, study = register(engine, budget=8)
    worker(engine, record, study).run()
    say("retune", "small", "--name", "longer", "--epochs", "4")
    assert definition_of(load_study(engine, "longer")).epochs == 2 * study.epochs
    _, told = say("retune", "small", "--name", "none", "--epochs", "0", code=2)
    assert "epochs" in told


def test_what_won_before_is_trained_beside_the_default(engine: Engine, say: Say) -> None:
    record, study = register(engine, budget=8)
    worker(engine, record, study).run()
    told, _ = say("retune", "small", "--name", "again", "--budget", "12")
    assert "learns from 8 of its trials" in told
    who = ledger(engine, load_study(engine, "again"))
    first = who.lease()
    assert first is not None
    assert [lease.slot.number for lease in who.lease_more(first, 2)] == [1, 2]
    second = ledger(engine, load_study(engine, "again")).lease()
    assert second is not None


def test_what_cannot_be_tuned_again_is_one_line_and_nothing_is_written(engine: Engine, say: Say) -> None:
    record, study = register(engine, budget=8)
    assert "no trial of 'small' is complete" in say("retune", "small", "--name", "again", code=2)[1]
    worker(engine, record, study).run()
    assert "there is a study 'small' already" in say("retune", "small", "--name", "small", code=2)[1]
    assert "'rate' is not searched" in say("retune", "small", "--name", "again", "--widen", "rate", code=2)[1]
    assert "nothing" in say("retune", "small", "--name", "again", "--data", "nothing", code=2)[1]
    assert "no study 'again'" in say("status", "again", code=2)[1]
