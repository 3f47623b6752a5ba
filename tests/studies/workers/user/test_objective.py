"""Studies whose trials an objective of Optuna's trains: by workers in this process, on a real database."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import optuna
import pytest
from sqlalchemy import Engine, text

from caviar.epoch import Epoch
from caviar.storage.control import kill_trial, set_control
from caviar.storage.curves import read_curve, read_curves
from caviar.storage.events import read_events
from caviar.storage.history import read_frozen_trials
from caviar.storage.records import StudyRecord, TrialRecord
from caviar.storage.states import EventKind, TrialState
from caviar.storage.status import read_progress, read_trials
from caviar.studies.lifecycle.manager import progress
from caviar.studies.results.winner import standings
from tests.helpers.leases import expire
from tests.helpers.objectives import ACTIONS, SEEN, LeaveAfter, register_objective
from tests.helpers.studies import skip_without_package
from tests.helpers.workers import ledger, worker

Action = Callable[[optuna.Trial], Any]


def reports(*values: float, ask: bool = True) -> Action:
    """Report values, ask after each whether to stop, and return the last one."""

    def act(trial: optuna.Trial) -> float:
        for step, value in enumerate(values):
            trial.report(value, step)
            if ask and trial.should_prune():
                raise optuna.TrialPruned
        return values[-1]

    return act


def trained(engine: Engine, *actions: Action, **fields: Any) -> tuple[StudyRecord, list[TrialRecord]]:
    """Train a study of as many trials, each of which does one of the actions."""
    record, study = register_objective(engine, "acting", tiers=[], **{"budget": len(actions), **fields})
    ACTIONS.extend(actions)
    worker(engine, record, study).run()
    return record, read_trials(engine, record.study_id)


def results(engine: Engine, record: StudyRecord) -> list[Any]:
    """Everything that trials came to, but for times."""
    curves = read_curves(engine, record.study_id)
    trials = read_frozen_trials(engine, record.optuna_study_id)
    return [(t.params, t.distributions, t.value, t.state, metrics(curves[t.number])) for t in trials]


def metrics(curve: list[Epoch]) -> list[dict[str, float]]:
    return [dict(epoch.metrics) for epoch in curve]


def test_an_objective_trains_to_its_budget(engine: Engine) -> None:
    record, study = register_objective(engine, "conditional")
    worker(engine, record, study).run()

    trials = read_trials(engine, record.study_id)
    assert [t.state for t in trials] == [TrialState.COMPLETE] * 6
    assert [t.epoch for t in trials] == [3] * 6
    stored = read_frozen_trials(engine, record.optuna_study_id)
    assert [t.params for t in stored] == SEEN
    assert SEEN[0] == {
        "lr": pytest.approx(1e-3), "layers": 2, "units_0": 10, "units_1": 10, "width": 6, "optimizer": "adam",
    }  # fmt: skip
    assert len({t["lr"] for t in SEEN}) == 6
    assert [t.attributes["width"] for t in trials] == [t["width"] for t in SEEN]
    assert [epoch["value"] for epoch in metrics(read_curve(engine, record.study_id, 0))] == pytest.approx(
        [(trials[0].value or 0) + 1 / n for n in (1, 2, 3)]
    )


@pytest.mark.parametrize(
    "strategy", ["tiered", "classic", "random", "tpe", "gp", "optuna:CmaEsSampler(popsize=4)", "optuna:QMCSampler"]
)
def test_an_interrupted_trial_begins_again_with_the_same_values(engine: Engine, strategy: str) -> None:
    skip_without_package(strategy)
    fields = {"strategy": strategy, "budget": 5}
    undisturbed, study = register_objective(engine, "conditional", name="undisturbed", **fields)
    worker(engine, undisturbed, study).run()

    record, study = register_objective(engine, "conditional", **fields)
    looks, rounds = 1, 0
    while progress(engine, record).open:  # left a step later each time, between two suggestions, too
        worker(engine, record, study, stop=LeaveAfter(looks)).run()
        looks, rounds = looks + 1, rounds + 1

    assert rounds > 10
    assert max(t.attempts for t in read_trials(engine, record.study_id)) > 3
    assert results(engine, record) == results(engine, undisturbed)


def test_a_trial_without_a_report_has_its_value_as_its_epoch(engine: Engine) -> None:
    record, study = register_objective(engine, "silent", budget=3, metric="error")
    worker(engine, record, study).run()
    for trial in read_trials(engine, record.study_id):
        (epoch,) = read_curve(engine, record.study_id, trial.slot.number)
        assert (trial.state, trial.epoch, dict(epoch.metrics)) == (TrialState.COMPLETE, 1, {"error": trial.value})


def test_the_pruner_ends_a_trial_that_asks(engine: Engine) -> None:
    record, study = register_objective(engine, "slow", budget=4, pruner="pace")
    worker(engine, record, study).run()
    first, *others = read_trials(engine, record.study_id)
    assert (first.state, first.value) == (TrialState.COMPLETE, 0.5)
    assert [(t.state, t.epoch) for t in others] == [(TrialState.PRUNED, 4)] * 3
    assert others[0].value == 1.25
    assert others[0].attributes["why it stopped"] == (
        "at epoch 4 not yet where trial 0, the best, was at epoch 2; since epoch 2 at less than half its pace"
    )


def test_an_objective_decides_itself(engine: Engine) -> None:
    def never_asks(trial: optuna.Trial) -> float:
        return reports(*[5.0] * 6, ask=False)(trial)

    def goes_on(trial: optuna.Trial) -> float:
        answers = []
        for step in range(6):
            trial.report(5.0, step)
            answers.append(trial.should_prune())
        assert answers == [False] * 3 + [True] * 3
        return 4.0

    def prunes_itself(trial: optuna.Trial) -> float:
        trial.report(3.0, 0)
        raise optuna.TrialPruned

    def prunes_without_a_report(trial: optuna.Trial) -> float:
        raise optuna.TrialPruned

    good = reports(1.0, 0.5, 0.25, 0.2, 0.1, 0.1)
    _, trials = trained(engine, good, never_asks, goes_on, prunes_itself, prunes_without_a_report, pruner="pace")
    assert [(t.state, t.value, t.epoch) for t in trials] == [
        (TrialState.COMPLETE, 0.1, 6), (TrialState.COMPLETE, 5.0, 6), (TrialState.COMPLETE, 4.0, 6),
        (TrialState.PRUNED, 3.0, 1), (TrialState.PRUNED, None, 0),
    ]  # fmt: skip
    assert trials[3].attributes["why it stopped"] == "the objective ended it after epoch 1"


@pytest.mark.parametrize("ask", [True, False])
def test_a_trial_that_somebody_kills_is_pruned(engine: Engine, ask: bool) -> None:
    after: list[str] = []
    begun: list[int] = []

    def act(trial: optuna.Trial) -> float:
        trial.report(3.0, 0)
        if ask and trial.should_prune():
            raise AssertionError("nobody asked for that yet")
        kill_trial(engine, record, 0)
        try:
            for step in (1, 2, 3):
                begun.append(step)
                trial.report(2.0, step)
                if ask and trial.should_prune():
                    trial.set_user_attr("cleared", True)
                    raise optuna.TrialPruned
        except Exception:
            after.append("an exception")
            raise
        return 1.0

    record, study = register_objective(engine, "acting", budget=2)
    ACTIONS.append(act)
    worker(engine, record, study).run()
    killed, other = read_trials(engine, record.study_id)
    assert (killed.state, killed.value, killed.epoch) == (TrialState.PRUNED, 2.0, 2)
    assert killed.attributes["why it stopped"] == "killed by hand after epoch 2"
    assert killed.attributes.get("cleared") is (True if ask else None)
    assert after == (["an exception"] if ask else [])
    assert begun == [1]
    assert other.state == TrialState.COMPLETE


def test_a_trial_without_a_finite_value_may_be_killed(engine: Engine) -> None:
    def act(trial: optuna.Trial) -> float:
        for step in range(6):
            trial.report(math.nan, step)
            kill_trial(engine, record, 0)
        return 1.0

    record, study = register_objective(engine, "acting", budget=2)
    ACTIONS.append(act)
    worker(engine, record, study).run()
    killed, other = read_trials(engine, record.study_id)
    assert (killed.state, killed.value) == (TrialState.PRUNED, None)
    assert other.state == TrialState.COMPLETE


def test_a_trial_is_paused_at_once_or_comes_to_its_end(engine: Engine) -> None:
    def pause(trial: optuna.Trial, at_once: bool) -> float:
        set_control(engine, record.study_id, "pause", at_once=at_once)
        return reports(2.0, 1.0)(trial)

    record, study = register_objective(engine, "acting", budget=2)
    ACTIONS.append(lambda trial: pause(trial, True))
    worker(engine, record, study).run()
    given_back = progress(engine, record)
    assert (given_back.open, given_back.leased, given_back.done) == (2, 0, 0)
    set_control(engine, record.study_id, "run")
    ACTIONS.append(lambda trial: pause(trial, False))
    worker(engine, record, study).run()
    assert (progress(engine, record).open, progress(engine, record).complete) == (1, 1)


def test_nothing_holds_what_leaves_an_objective(engine: Engine) -> None:
    def holds(trial: optuna.Trial) -> float:
        set_control(engine, record.study_id, "stop", at_once=True)
        for step in range(3):
            with suppress(BaseException):
                trial.report(1.0, step)
        return 0.0

    record, study = register_objective(engine, "acting", budget=2)
    ACTIONS.append(holds)
    worker(engine, record, study).run()
    assert (progress(engine, record).open, progress(engine, record).done) == (2, 0)


def test_a_trial_that_lost_its_lease_writes_nothing(engine: Engine) -> None:
    def lose(trial: optuna.Trial) -> float:
        (held,) = runs[0]._trainer._runs
        expire(engine, held.lease)
        other = ledger(engine, record).lease()
        assert other is not None
        assert other.slot.number == 0
        trial.suggest_float("late", 0, 1)
        raise AssertionError("it goes on")

    record, study = register_objective(engine, "acting", budget=2)
    ACTIONS.append(lose)
    runs = [worker(engine, record, study)]
    set_control(engine, record.study_id, "run")
    runs[0]._trainer.work_on(runs[0].context.ledger.lease())  # type: ignore[arg-type]
    lost = read_trials(engine, record.study_id)[0]
    assert (lost.state, lost.named) == (TrialState.RUNNING, {"lr": 0.5})


def test_a_trial_that_begins_again_gets_what_is_stored_whatever_would_be_chosen_now(engine: Engine) -> None:
    given: list[float] = []

    def act(trial: optuna.Trial) -> float:
        given.append(trial.params["lr"])
        if len(given) == 1:
            set_control(engine, record.study_id, "stop", at_once=True)
        return reports(1.0)(trial)

    record, study = register_objective(engine, "acting", budget=2)
    ACTIONS.extend([act] * 2)
    worker(engine, record, study).run()
    with engine.begin() as connection:
        connection.execute(text("UPDATE public.trial_params SET param_value = 0.125"))
    set_control(engine, record.study_id, "run")
    worker(engine, record, study).run()
    assert given == [0.5, 0.125]


def test_other_workers_see_what_a_running_trial_was_suggested(engine: Engine) -> None:
    seen: list[set[str]] = []

    def act(trial: optuna.Trial) -> float:
        for name in ("early", "late"):
            others.refresh()
            seen.append(set(others.get_all_trials(0)[0].params))
            trial.suggest_float(name, 0, 1)
        return 1.0

    record, study = register_objective(engine, "acting", budget=2)
    others = worker(engine, record, study).context.history
    ACTIONS.append(act)
    worker(engine, record, study).run()
    assert seen == [{"lr"}, {"lr", "early"}]


def test_a_range_that_is_another_one_when_a_trial_begins_again(engine: Engine) -> None:
    tops = [1.0, 2.0, 1.0]

    def act(trial: optuna.Trial) -> float:
        trial.suggest_float("width", 0, tops.pop(0))
        if len(tops) == 2:
            set_control(engine, record.study_id, "stop", at_once=True)
        return reports(1.0)(trial)

    record, study = register_objective(engine, "acting", budget=2)
    ACTIONS.extend([act] * 3)
    worker(engine, record, study).run()
    set_control(engine, record.study_id, "run")
    worker(engine, record, study).run()
    failed, sound = read_trials(engine, record.study_id)
    assert failed.state == TrialState.FAIL
    assert "'width' was suggested from FloatDistribution(high=1.0" in failed.attributes["why it stopped"]
    assert sound.state == TrialState.COMPLETE


def test_what_an_objective_says_of_its_trial(engine: Engine) -> None:
    def act(trial: optuna.Trial) -> float:
        assert isinstance(trial, optuna.Trial)
        assert (trial.number, trial.params, trial.relative_params) == (0, {"lr": 0.5}, {})
        assert trial.distributions == {"lr": optuna.distributions.FloatDistribution(0, 1)}
        assert trial.datetime_start is not None
        trial.set_user_attr("net", {"layers": [1, 2]})
        trial.set_user_attr("epochs", "mine")
        trial.set_constraint("latency", 3.0)
        trial.set_constraint("memory", -1.0)
        assert trial.user_attrs == {"net": {"layers": [1, 2]}, "epochs": "mine"}
        assert trial.constraints == {"latency": 3.0, "memory": -1.0}
        assert trial.study.study_name == "own"
        assert [t.number for t in trial.study.trials] == [0]
        return 0.1

    record, trials = trained(engine, act, reports(0.7))
    assert [t.state for t in trials] == [TrialState.COMPLETE] * 2, trials[0].attributes
    assert trials[0].attributes["net"] == {"layers": [1, 2]}
    assert (trials[0].attributes["objective.epochs"], trials[0].attributes["epochs"]) == ("mine", 1)
    assert trials[0].violated == "latency"
    best = read_progress(engine, record, maximize=False).best
    winner = standings(engine, record).winner
    assert best is not None
    assert winner is not None
    assert (best.slot.number, winner.trial) == (1, 1)


def test_steps_are_counted(engine: Engine) -> None:
    def act(trial: optuna.Trial) -> float:
        for step in (0, 1, 100, 100, 7):
            trial.report(step, step)
        return 1.0

    record, _ = trained(engine, act)
    assert metrics(read_curve(engine, record.study_id, 0)) == [
        {"value": 0.0}, {"value": 1.0}, {"value": 100.0, "step": 100.0}, {"value": 7.0, "step": 7.0},
    ]  # fmt: skip


def test_a_trial_that_another_program_enqueued(engine: Engine) -> None:
    record, study = register_objective(engine, "conditional", budget=3)
    program = optuna.load_study(study_name="own", storage=engine.url.render_as_string(hide_password=False))
    program.enqueue_trial({"lr": 0.05, "optimizer": None})
    worker(engine, record, study).run()
    assert (SEEN[1]["lr"], SEEN[1]["optimizer"]) == (0.05, None)
    assert 0.05 not in (SEEN[0]["lr"], SEEN[2]["lr"])
    assert progress(engine, record).complete == 3


def raises(error: BaseException) -> Action:
    def act(trial: optuna.Trial) -> None:
        raise error

    return act


BAD: list[tuple[Action, str]] = [
    (lambda trial: None, "the objective returned None; return the value of the trial"),
    (lambda trial: "good", "the objective returned 'good', which is no number"),
    (lambda trial: (1.0, 2.0), "the objective returned 2 values; Caviar searches by one"),
    (lambda trial: [], "the objective returned 0 values"),
    (lambda trial: math.nan, "the objective returned nan, which is no value"),
    (lambda trial: {}, "the objective returned {}, which is no number"),
    (lambda trial: 1j, "which is no number"),
    (lambda trial: trial.suggest_float("a", 2, 1), "ValueError: `low <= high` must hold"),
    (lambda trial: trial.suggest_float("a", 0, 1, log=True), "ValueError: `low > 0` must hold for `log=True`"),
    (lambda trial: trial.suggest_categorical("a", []), "ValueError: The `choices` must contain one or more"),
    (lambda trial: trial.suggest_int("lr", 0, 1), "ValueError: Cannot set different distribution kind"),
    (lambda trial: trial.suggest_float("a\nb", 0, 1), "the name of the hyperparameter 'a\\nb' has the control"),
    (lambda trial: trial.suggest_float("a" * 101, 0, 1), "has 101 characters, more than 100"),
    (lambda trial: trial.suggest_categorical("a", [object()]), "TypeError: Object of type object is not JSON"),
    (lambda trial: trial.report("x", 0), "TypeError: The `value` argument is of type '<class 'str'>'"),
    (lambda trial: trial.report(1.0, -1), "ValueError: `step=-1` must be non-negative"),
    (lambda trial: trial.set_user_attr("a", object()), "TypeError: Object of type object is not JSON serializable"),
    (lambda trial: trial.set_user_attr("a" * 101, 1), "the name of the attribute"),
    (lambda trial: trial.set_constraint("a", math.nan), "ValueError: Attempted to set a constraint for 'a'"),
    (lambda trial: trial.study.set_user_attr("a", 1), "an objective that Caviar runs cannot write to its study"),
    (lambda trial: trial.study.enqueue_trial({"lr": 1}), "an objective that Caviar runs cannot make other trials"),
    (lambda trial: trial.study.tell(trial, 1.0), "an objective that Caviar runs cannot end a trial by its study"),
    (
        lambda trial: trial.study.stop(),
        "an objective that Caviar runs cannot stop its study; that is done by: caviar stop NAME",
    ),
    (raises(SystemExit(2)), "it calls sys.exit(2), which would end Caviar"),
    (raises(GeneratorExit()), "it raises GeneratorExit, which is no Exception"),
    (raises(ZeroDivisionError("x / 0")), "ZeroDivisionError: x / 0"),
]


@pytest.mark.parametrize(("action", "reason"), BAD)
def test_what_an_objective_does_wrong_ends_its_trial_alone(engine: Engine, action: Action, reason: str) -> None:
    record, (failed, sound) = trained(engine, action, reports(1.0))
    assert failed.state == TrialState.FAIL
    assert reason in failed.attributes["why it stopped"]
    assert "\n" not in failed.attributes["why it stopped"]
    assert sound.state == TrialState.COMPLETE
    (event,) = read_events(engine, record.study_id, EventKind.TRIAL_FAILED)
    assert event.slot == 0


def test_another_kind_of_range_than_in_other_trials(engine: Engine) -> None:
    _, (first, failed) = trained(
        engine,
        lambda trial: trial.suggest_categorical("c", ["a", "b"]) == "a",
        lambda trial: trial.suggest_categorical("c", ["a", "b", "c"]) == "a",
    )
    assert (first.state, failed.state) == (TrialState.COMPLETE, TrialState.FAIL)
    assert "CategoricalDistribution does not support dynamic value space" in failed.attributes["why it stopped"]


def test_an_infinite_value_is_a_trial_that_diverged(engine: Engine) -> None:
    _, (diverged, sound) = trained(engine, lambda trial: -math.inf, reports(math.nan, 1.0))
    assert (diverged.state, diverged.violated) == (TrialState.COMPLETE, "diverged")
    assert (sound.state, sound.value, sound.epoch) == (TrialState.COMPLETE, 1.0, 2)
