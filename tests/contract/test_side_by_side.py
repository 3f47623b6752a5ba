"""Everything that another Optuna program may do to a study while workers train it, against a run that nobody disturbs.

In every case the budget is trained exactly, no command and no worker ends with an error, nobody's trial vanishes or
collides with another, and the winner is one of the study's own trials, which alone is measured on the test set. Where
nothing was told that the search can learn from, each of its trials is the same as in the undisturbed run.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy import Engine, text

from caviar.storage.records import OtherTrials, StudyRecord
from caviar.storage.status import read_trials
from caviar.studies.cli import run
from caviar.studies.lifecycle.manager import progress
from tests.helpers.studies import small_study
from tests.helpers.workers import register, worker

BUDGET, AT = 8, 5  # AT: the epoch, of those of the study, after which somebody interferes; trial 2 is running then
RUNNING = 2
Interference = Callable[[optuna.Study], object]


def whole(value: float | None = 0.5, **fields: Any) -> FrozenTrial:
    """Return a trial with all of the study's hyperparameters, each at an end of its range."""
    kinds: Any = small_study().distributions()
    low = {n: kind.choices[0] if hasattr(kind, "choices") else kind.low for n, kind in kinds.items()}
    return create_trial(params=low, distributions=dict(kinds), value=value, **fields)


def mine(**fields: Any) -> FrozenTrial:
    """Return a trial of a hyperparameter that the study does not have."""
    return create_trial(params={"mine": 3.0}, distributions={"mine": FloatDistribution(0, 4)}, **fields)


def wider() -> FrozenTrial:
    trial = whole()
    trial.distributions["learning_rate"] = FloatDistribution(1e-4, 100.0, log=True)
    trial.params["learning_rate"] = 50.0
    return trial


def suggested(trial: optuna.Trial) -> dict[str, Any]:
    return {name: trial._suggest(name, kind) for name, kind in small_study().distributions().items()}


def optimize(value: float, same: bool) -> Interference:
    def objective(trial: optuna.Trial) -> float:
        if same:
            suggested(trial)
        else:
            trial.suggest_float("mine", 0, 4)
        return value

    return lambda study: study.optimize(objective, n_trials=3)


def ask_and_tell(study: optuna.Study) -> None:
    trials = [study.ask({"mine": FloatDistribution(0, 4)}) for _ in range(3)]
    study.tell(trials[0].number, 0.99)  # by its number, which no slot has, too
    study.tell(trials[1], state=TrialState.FAIL)


def touch_the_running_one(study: optuna.Study) -> None:
    trial = optuna.Trial(study, study.get_trials(states=(TrialState.RUNNING,))[0]._trial_id)
    trial.report(0.1, 99)
    trial.set_user_attr("mine", {"a": [1]})
    trial.set_constraint("mine", -1.0)


def touch_the_study(study: optuna.Study) -> None:
    study.set_user_attr("mine", 1)
    study.set_metric_names(["accuracy"])
    study._storage.set_study_system_attr(study._study_id, "dashboard:note_ver", 7)
    optuna.storages.fail_stale_trials(study)


def copy(study: optuna.Study) -> None:
    optuna.copy_study(from_study_name="small", from_storage=study._storage, to_storage=study._storage,
                      to_study_name="copied")  # fmt: skip


SILENT: dict[str, tuple[Interference, int]] = {  # nothing to learn from; how many trials each adds
    "optimize other parameters": (optimize(0.9999, same=False), 3),
    "ask and tell": (ask_and_tell, 3),
    "add value 5": (lambda study: study.add_trial(whole(5.0)), 1),
    "add inf": (lambda study: study.add_trial(whole(float("inf"))), 1),
    "add without parameters": (lambda study: study.add_trial(create_trial(value=0.9999)), 1),
    "add other parameters": (lambda study: study.add_trial(mine(value=0.9999)), 1),
    "add wider range": (lambda study: study.add_trial(wider()), 1),
    "add FAIL": (lambda study: study.add_trial(whole(None, state=TrialState.FAIL)), 1),
    "add RUNNING": (lambda study: study.add_trial(whole(None, state=TrialState.RUNNING)), 1),
    "add WAITING": (lambda study: study.add_trial(mine(state=TrialState.WAITING)), 1),
    "report, attributes": (touch_the_running_one, 0),
    "study attributes": (touch_the_study, 0),
    "copy_study": (copy, 0),
}
HEARD: dict[str, tuple[Interference, int]] = {  # what the search is told by them
    "optimize, better": (optimize(0.9999, same=True), 3),
    "optimize, worse": (optimize(0.01, same=True), 3),
    "add PRUNED": (lambda study: study.add_trial(whole(0.5, state=TrialState.PRUNED)), 1),
    "enqueue_trial": (lambda study: [study.enqueue_trial({"learning_rate": 0.01 * n}) for n in range(1, 4)], 0),
    "tell a running one": (lambda study: study.tell(RUNNING, 0.9999), 0),
    "fail a running one": (lambda study: study.tell(RUNNING, state=TrialState.FAIL), 0),
}


def trained(engine: Engine, interfere: Interference | None = None) -> StudyRecord:
    """Train a study to its end; interfere after an epoch in its middle."""
    record, study = register(engine, budget=BUDGET, epochs=2, pruner="none")
    who = worker(engine, record, study, cohort=1)
    real, epochs = who.context.log.record, []

    def record_and_interfere(reports: Any) -> Any:
        answers = real(reports)
        epochs.extend(reports)
        if len(epochs) == AT and interfere is not None:
            address = engine.url.render_as_string(hide_password=False)
            interfere(optuna.load_study(study_name="small", storage=address))
        return answers

    who.context.log.record = record_and_interfere  # type: ignore[method-assign]
    who.run()
    return record


@pytest.fixture(scope="module")
def undisturbed(server: Any) -> list[tuple[Any, ...]]:
    """The trials of a run that nobody disturbs."""
    from sqlalchemy import create_engine

    from caviar.storage.engine import make_engine

    plain = create_engine(server, isolation_level="AUTOCOMMIT")
    with plain.connect() as connection:
        connection.execute(text("CREATE DATABASE undisturbed TEMPLATE template_caviar"))
    engine = make_engine(server.set(database="undisturbed"))
    found = own(engine, trained(engine))
    engine.dispose()
    with plain.connect() as connection:
        connection.execute(text("DROP DATABASE undisturbed WITH (FORCE)"))
    plain.dispose()
    return found


def own(engine: Engine, record: StudyRecord) -> list[tuple[Any, ...]]:
    trials = read_trials(engine, record.study_id)
    return [(t.slot.number, t.state, t.parameters, t.value, t.epoch, t.attempts) for t in trials]


@pytest.mark.parametrize("how", [*SILENT, *HEARD])
def test_side_by_side(
    engine: Engine, undisturbed: list[tuple[Any, ...]], how: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    address = engine.url.render_as_string(hide_password=False)
    monkeypatch.setenv("CAVIAR_DATABASE_URL", address)
    interfere, added = {**SILENT, **HEARD}[how]
    record = trained(engine, interfere)
    # Exactly the budget, each of its trials once.
    now, trials = progress(engine, record), own(engine, record)
    assert (now.budget, now.done, now.open, now.leased) == (BUDGET, BUDGET, 0, 0)
    ended = "a running one" in how
    assert (now.complete, now.ended_elsewhere, now.failed) == (BUDGET - ended, ended, 0)
    assert now.others == OtherTrials(added, 0)
    assert all(attempts == 1 for *_, attempts in trials)
    if how in SILENT:
        assert trials == undisturbed
    else:
        assert trials[:RUNNING] == undisturbed[:RUNNING]
    # Nobody's trial vanishes behind another one of its number.
    theirs = optuna.load_study(study_name="small", storage=address).trials
    assert [t.number for t in theirs] == list(range(BUDGET + added))
    # The commands go on, and one of the study's own trials wins.
    for command in ("join", "best", *(("status", "report", "doctor") if how in HEARD else ())):
        assert (
            run([command, *(["small"] if command != "doctor" else []), *(["--json"] if command != "join" else [])]) == 0
        )
        said = capsys.readouterr().out
        if command == "best":
            best = json.loads(said)
    assert trials[best["trial"]][1] == "complete"
    if how in SILENT:
        values = [value for _, _, _, value, *_ in undisturbed]
        assert best["trial"] == values.index(max(values))
    with engine.connect() as connection:
        tested = connection.scalars(text("SELECT slot FROM caviar.test_result")).all()
        checkpoints = connection.scalars(text("SELECT slot FROM caviar.checkpoint")).all()
    assert tested == checkpoints == [best["trial"]]
    assert best["test"] is not None
