"""What other Optuna programs do to a study of Caviar in the same database harms nothing: only slots' trials count."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState, create_trial
from sqlalchemy import Engine, text

from caviar.storage.checkpoints import CheckpointStore
from caviar.storage.control import kill_trial
from caviar.storage.definitions import delete_remains, delete_study, find_study, load_studies, load_study
from caviar.storage.errors import ForeignStudy, LeaseLost, StudyDeleted, StudyNotFound, TrialNotFound, TrialNotRunning
from caviar.storage.events import read_events
from caviar.storage.health import read_studies
from caviar.storage.history import History, is_feasible, read_frozen_trials
from caviar.storage.losses import free_lost
from caviar.storage.records import OtherTrials, Report, StudyRecord
from caviar.storage.snapshot import read_snapshot
from caviar.storage.states import Control, EventKind
from caviar.storage.status import read_progress, read_trial, read_trials
from caviar.studies.cli import run
from caviar.studies.definition import change
from caviar.studies.lifecycle.manager import extend_study
from caviar.studies.results.winner import standings
from tests.helpers.epochs import measured
from tests.helpers.faulty_net import StopAfter
from tests.helpers.leases import PARAMETERS, expire, lease_of
from tests.helpers.studies import small_study
from tests.helpers.workers import ledger, log, register, worker

NAME = "small"


def address(engine: Engine) -> str:
    return engine.url.render_as_string(hide_password=False)


def loaded(engine: Engine, name: str = NAME) -> optuna.Study:
    return optuna.load_study(study_name=name, storage=address(engine))


def whole(value: float, **fields: Any) -> optuna.trial.FrozenTrial:
    """Return a trial with all of the study's hyperparameters, each at an end of its range."""
    distributions: Mapping[str, Any] = small_study().distributions()
    low = {n: d.choices[0] if hasattr(d, "choices") else d.low for n, d in distributions.items()}
    return create_trial(params=low, distributions=dict(distributions), value=value, **fields)


def other(value: float) -> optuna.trial.FrozenTrial:
    """Return a trial of hyperparameters that the study does not have."""
    return create_trial(params={"mine": 3.0}, distributions={"mine": FloatDistribution(0, 4)}, value=value)


def ask_and_tell(study: optuna.Study) -> None:
    trial = study.ask({"mine": FloatDistribution(0, 4)})
    trial.report(2.0, 1)
    study.tell(trial, 2.0)


def told_with_a_constraint(study: optuna.Study) -> None:
    study.add_trial(whole(2.0, constraints={"mine": -1.0, "diverged": 1.0}))


INTERFERENCES: list[Callable[[optuna.Study], object]] = [
    lambda study: study.add_trial(whole(2.0, intermediate_values={1: 2.0, 2: 2.0})),  # better than 1 is no accuracy
    lambda study: study.add_trial(other(2.0)),
    lambda study: study.add_trial(create_trial(state=TrialState.FAIL)),
    lambda study: study.enqueue_trial({"learning_rate": 0.5}),
    lambda study: study.ask(),
    ask_and_tell,
    told_with_a_constraint,
]
NAMES = ["add_trial", "other parameters", "failed", "enqueue_trial", "ask", "ask and tell", "constraint"]


def facts(engine: Engine, record: StudyRecord) -> dict[str, object]:
    """Return all that Caviar says of a study."""
    snapshot = read_snapshot(engine, record, maximize=True)
    snapshot = replace(snapshot, progress=replace(snapshot.progress, others=OtherTrials()))
    with engine.connect() as connection:
        checkpoints = connection.execute(text("SELECT slot, epoch FROM caviar.checkpoint ORDER BY 1")).all()
    return {
        "snapshot": snapshot,
        "trials": read_trials(engine, record.study_id),
        "winner": standings(engine, record).winner,
        "frozen": [(t.number, t.value, t.params) for t in read_frozen_trials(engine, record.optuna_study_id)],
        "checkpoints": checkpoints,
    }


@pytest.mark.parametrize("interfere", INTERFERENCES, ids=NAMES)
def test_nothing_changes_in_a_finished_study(engine: Engine, interfere: Callable[[optuna.Study], object]) -> None:
    record, study = register(engine, budget=5, epochs=2)
    worker(engine, record, study).run()
    before = facts(engine, record)
    interfere(loaded(engine))
    assert facts(engine, record) == before
    waiting = sum(trial.state == TrialState.WAITING for trial in loaded(engine).trials)
    assert read_progress(engine, record, maximize=True).others == OtherTrials(1, waiting)
    assert len(before["checkpoints"]) >= 3  # type: ignore[arg-type]


def trained_twice(engine: Engine, name: str, interfere: Callable[[optuna.Study], object] | None) -> StudyRecord:
    """Train a study of 4 trials, give it 16, and train it to its end; interfere before each and in between."""
    record, study = register(engine, name=name, budget=4, epochs=2)
    for budget in (4, 16):
        for _ in range(budget // 4):  # of numbers that slots are about to have
            if interfere is not None:
                interfere(loaded(engine, name))
        if budget > 4:
            record = extend_study(engine, record, budget)
        worker(engine, record, change(study, budget=budget), cohort=1).run()
    return record


@pytest.mark.parametrize(
    "interfere", [each for each, name in zip(INTERFERENCES, NAMES, strict=True) if name != "enqueue_trial"]
)
def test_a_worker_trains_exactly_the_budget_as_if_alone(
    engine: Engine, interfere: Callable[[optuna.Study], object]
) -> None:
    alone, record = (trained_twice(engine, name, by) for name, by in (("alone", None), (NAME, interfere)))
    now = read_progress(engine, record, maximize=True)
    assert (now.budget, now.done, now.open, now.leased) == (16, 16, 0, 0)
    ours, undisturbed = (read_trials(engine, r.study_id) for r in (record, alone))
    assert [t.slot.number for t in ours] == list(range(16))
    assert [(t.parameters, t.value) for t in ours] == [(t.parameters, t.value) for t in undisturbed]
    best = sorted((t for t in ours if t.state == "complete"), key=lambda t: (-(t.value or 0.0), t.slot.number))[:3]
    store = CheckpointStore(engine, record)
    assert all(store.load(t.slot.number) for t in best)
    winner = standings(engine, record).winner
    assert winner is not None
    assert read_trial(engine, record.study_id, winner.trial).state == "complete"


def told(engine: Engine, number: int, state: TrialState = TrialState.COMPLETE) -> None:
    loaded(engine).tell(number, 2.0 if state == TrialState.COMPLETE else None, state)


@pytest.mark.parametrize("state", [TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL])
def test_a_slots_trial_that_somebody_tells_has_ended_for_good(engine: Engine, state: TrialState) -> None:
    record, _ = register(engine, budget=3)
    who, writes = ledger(engine, record), log(engine, record)
    history = History(engine, record.optuna_study_id, maximize=True)
    lease = lease_of(who.lease())
    trial_id = writes.begin(lease, PARAMETERS, {})
    report = Report(lease, measured(1, 0.5, 0.6, 0.7, 0.1, 0.01), 0.7)
    writes.record([report])
    history.refresh()
    told(engine, 0, state)
    before = loaded(engine).trials[0]
    assert writes.record([Report(lease, measured(2, 0.5, 0.6, 0.7, 0.1, 0.01), 0.8)]) == {}
    assert not who.retake(lease)
    with pytest.raises(LeaseLost, match="another Optuna program ended its trial"):
        writes.finish(lease, trial_id, "COMPLETE", 0.9, {})
    who.release(lease)
    assert lease_of(who.lease()).slot.number == 1
    assert loaded(engine).trials[0] == before
    trial = read_trial(engine, record.study_id, 0)
    value = {TrialState.COMPLETE: 2.0, TrialState.PRUNED: 0.7, TrialState.FAIL: None}[state]
    assert (trial.state, trial.value, trial.epoch) == ("ended elsewhere", value, 1)
    now = read_progress(engine, record, maximize=True)
    assert (now.leased, now.done, now.ended_elsewhere, now.complete, now.best) == (1, 1, 1, 0, None)
    assert now.phases[0].best is None
    (event,) = read_events(engine, record.study_id, EventKind.ENDED_ELSEWHERE)
    by = {"by": "another Optuna program", "state": state.name.lower(), "epoch": 1}
    assert (event.slot, event.detail) == (0, by)
    history.refresh()
    assert history.get_all_trials(0) == []  # neither running nor one to learn from: it has one parameter of many
    assert history.best() == []
    with pytest.raises(TrialNotRunning, match="has ended already"):
        kill_trial(engine, record, 0)


@pytest.mark.parametrize("how", ["finish", "kill", "reap"])
def test_a_value_that_somebody_gave_a_running_trial_does_not_keep_it_from_its_end(engine: Engine, how: str) -> None:
    record, _ = register(engine, budget=3)
    who, writes = ledger(engine, record), log(engine, record)
    lease = lease_of(who.lease())
    trial_id = writes.begin(lease, PARAMETERS, {})
    assert trial_id is not None
    writes.record([Report(lease, measured(1, 0.5, 0.6, 0.7, 0.1, 0.01), 0.7)])
    loaded(engine)._storage.set_trial_state_values(trial_id, TrialState.RUNNING, values=[0.5])
    if how == "finish":
        writes.finish(lease, trial_id, "PRUNED", 0.7, {})
    elif how == "kill":
        who.release(lease)
        assert kill_trial(engine, record, 0)
    else:
        kill_trial(engine, record, 0)
        expire(engine, lease)
        assert free_lost(engine, record) == 1
    trial = read_trial(engine, record.study_id, 0)
    assert (trial.state, trial.value) == ("pruned", 0.7)


@pytest.mark.parametrize(
    "kind",
    [
        "x",
        "[" * 100_000,
        "{}",
        "[]",
        '{"name": "IntDistribution", "attributes": {"low": "a", "high": 1}}',
        '{"name": "CategoricalDistribution", "attributes": {"choices": ["a"]}}',  # the value is 7
    ],
)
def test_a_trial_that_cannot_be_read_is_left_out(engine: Engine, kind: str) -> None:
    record, study = register(engine, budget=3, epochs=1)
    for state in (TrialState.COMPLETE, TrialState.WAITING):
        loaded(engine).add_trial(create_trial(state=state, value=0.5 if state.is_finished() else None))
    with engine.begin() as connection:
        statement = """
            INSERT INTO public.trial_params (trial_id, param_name, param_value, distribution_json)
            SELECT trial_id, 'learning_rate', 7, :kind FROM public.trials
        """
        connection.execute(text(statement), {"kind": kind})
    worker(engine, record, study).run()
    assert read_progress(engine, record, maximize=True).done == 3
    assert [t.number for t in read_frozen_trials(engine, record.optuna_study_id)] == [0, 1, 2]


def test_what_somebody_told_of_a_whole_trial_is_learned_from_and_does_not_win(engine: Engine) -> None:
    record, study = register(engine, budget=4, epochs=3, pruner="none")
    at_work = worker(engine, record, study)
    writes, real = at_work.context.log, at_work.context.log.record
    seen = []

    def record_and_tell(reports: list[Report]) -> Any:
        answers = real(reports)
        if reports[0].lease.slot.number == 1 and not seen:
            seen.append(reports[0].epoch.epoch)
            loaded(engine).tell(1, 1.0)  # an accuracy that none of them reaches
        return answers

    writes.record = record_and_tell  # type: ignore[method-assign]
    at_work.run()
    trials = read_trials(engine, record.study_id)
    assert [t.state for t in trials] == ["complete", "ended elsewhere", "complete", "complete"]
    assert (trials[1].value, trials[1].epoch) == (1.0, 1)
    at_work.context.history.refresh()
    learned = at_work.context.history.study().get_trials(deepcopy=False)
    assert sorted((t.number, t.value == 1.0) for t in learned) == [(0, False), (1, True), (2, False), (3, False)]
    winner = standings(engine, record).winner
    assert winner is not None
    assert winner.trial != 1
    with engine.connect() as connection:
        assert 1 not in connection.scalars(text("SELECT slot FROM caviar.checkpoint")).all()


def test_a_trial_that_somebody_told_while_nobody_trains_it_is_not_trained_again(engine: Engine) -> None:
    record, study = register(engine, budget=3, epochs=3)
    worker(engine, record, study, StopAfter(1)).run()
    assert [t.state for t in read_trials(engine, record.study_id)] == ["interrupted", "open", "open"]
    told(engine, 0, TrialState.FAIL)
    with pytest.raises(TrialNotRunning, match="trial 0 of 'small' has ended already"):
        kill_trial(engine, record, 0)
    worker(engine, record, study).run()
    trials = read_trials(engine, record.study_id)
    assert [t.state for t in trials] == ["ended elsewhere", "complete", "complete"]
    assert (trials[0].attempts, trials[0].epoch) == (1, 1)


def test_two_constraints_of_a_trial_count_it_once(engine: Engine) -> None:
    record, _ = register(engine, budget=3)
    who, writes = ledger(engine, record), log(engine, record)
    lease = lease_of(who.lease())
    trial_id = writes.begin(lease, PARAMETERS, {})
    loaded(engine)._storage.set_trial_system_attr(trial_id, "constraints:mine", 1.0)
    writes.finish(lease, trial_id, "COMPLETE", 0.1, {}, constraints={"diverged": 1.0})
    now = read_progress(engine, record, maximize=True)
    assert (now.budget, now.complete, now.diverged, now.done) == (3, 1, 1, 1)
    assert now.violations == {"diverged": 1, "mine": 1}
    assert read_trial(engine, record.study_id, 0).violated == "diverged, mine"


@pytest.mark.parametrize(
    "stored", ["1.0", "1e-300", "0", "0.0", "-0.0", "-1e-300", "-2", "Infinity", "-Infinity", "null", '"x"', "x", "[]"]
)
def test_a_constraint_is_violated_in_every_view_or_in_none(engine: Engine, stored: str) -> None:
    """Whatever its JSON is: for the search, the status, the list of trials and the trail of best values."""
    record, _ = register(engine)
    who, writes = ledger(engine, record), log(engine, record)
    lease = lease_of(who.lease())
    trial_id = writes.begin(lease, PARAMETERS, {})
    assert trial_id is not None
    writes.finish(lease, trial_id, "COMPLETE", 0.5, {})
    with engine.begin() as connection:
        statement = (
            "INSERT INTO public.trial_system_attributes (trial_id, key, value_json) VALUES (:trial, :key, :value)"
        )
        connection.execute(text(statement), {"trial": trial_id, "key": "constraints:a:b", "value": stored})
    (known,) = read_frozen_trials(engine, record.optuna_study_id)
    now, violated = read_snapshot(engine, record, maximize=True), not is_feasible(known)
    assert violated == (stored not in ("0", "0.0", "-0.0", "-1e-300", "-2", "-Infinity"))
    assert read_trial(engine, record.study_id, 0).violated == ("a:b" if violated else None)
    assert now.progress.violations == ({"a:b": 1} if violated else {})
    assert (now.progress.best is None, now.trail == (), now.progress.phases[0].best is None) == (violated,) * 3


def test_a_number_that_no_slot_has_is_told(engine: Engine) -> None:
    record, _ = register(engine, budget=4)
    loaded(engine).add_trial(whole(2.0))
    with pytest.raises(TrialNotFound, match="'small' has no trial 4; its trials are 0 to 3"):
        read_trial(engine, record.study_id, 4)


def test_a_copy_is_a_study_of_optunas(engine: Engine) -> None:
    record, study = register(engine, budget=3, epochs=1)
    worker(engine, record, study).run()
    before = facts(engine, record)
    optuna.copy_study(
        from_study_name=NAME, from_storage=address(engine), to_storage=address(engine), to_study_name="copy"
    )
    assert facts(engine, record) == before
    assert [r.name for r in load_studies(engine)] == [NAME]
    with pytest.raises(ForeignStudy):
        register(engine, name="copy")
    optuna.delete_study(study_name="copy", storage=address(engine))
    assert facts(engine, record) == before


def test_a_study_that_optuna_deleted_is_said_to_be_deleted_and_can_be_removed(engine: Engine) -> None:
    record, study = register(engine, budget=3, epochs=1)
    other_record, _ = register(engine, name="other")
    worker(engine, record, study).run()
    optuna.delete_study(study_name=NAME, storage=address(engine))
    for read in (
        lambda: load_study(engine, NAME),
        lambda: find_study(engine, NAME),
        lambda: read_progress(engine, record, maximize=True),
        lambda: read_snapshot(engine, record, maximize=True),
        lambda: register(engine, budget=3),
    ):
        with pytest.raises(StudyDeleted, match=r"'small' was deleted by another Optuna program.*caviar delete small"):
            read()
    assert [r.name for r in load_studies(engine)] == ["other"]
    assert [s.name for s in read_studies(engine)] == ["other"]
    with engine.connect() as connection:  # nobody's checkpoints are gone by then
        assert connection.scalar(text("SELECT count(*) FROM caviar.checkpoint")) == 3
    delete_remains(engine, NAME)
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM caviar.checkpoint")) == 0
    with pytest.raises(StudyNotFound, match="no study 'small'"):
        load_study(engine, NAME)
    record, study = register(engine, budget=3, epochs=1)  # anew, under the old name
    worker(engine, record, study).run()
    assert read_progress(engine, record, maximize=True).done == 3
    delete_study(engine, record)
    assert [r.name for r in load_studies(engine)] == [other_record.name]


def test_a_worker_whose_study_optuna_deletes_writes_no_more(engine: Engine) -> None:
    record, _ = register(engine, budget=4)
    who, writes = ledger(engine, record), log(engine, record)
    first, second = lease_of(who.lease()), lease_of(who.lease())
    trial_id = writes.begin(first, PARAMETERS, {})
    optuna.delete_study(study_name=NAME, storage=address(engine))
    report = Report(first, measured(1, 0.5, 0.6, 0.7, 0.1, 0.01), 0.7)
    assert writes.record([report]) == {}
    assert not who.retake(first)
    with pytest.raises(LeaseLost):
        writes.begin(second, PARAMETERS, {})
    with pytest.raises(LeaseLost):
        writes.finish(first, trial_id, "COMPLETE", 0.9, {})
    assert who.lease_more(first, 2) == []
    who.release(first)
    assert who.lease() is None
    assert who.standing().control == Control.STOP


def test_a_worker_at_work_leaves_when_optuna_deletes_its_study(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    record, study = register(engine, budget=6, epochs=4)
    at_work = worker(engine, record, study, cohort=2)
    writes, calls = at_work.context.log, []
    plain = writes.record

    def delete_after_two(reports: list[Report]) -> Any:
        calls.append(len(reports))
        if len(calls) == 2:
            optuna.delete_study(study_name=NAME, storage=address(engine))
        return plain(reports)

    monkeypatch.setattr(writes, "record", delete_after_two)
    at_work.run()
    assert len(calls) < 6
    with pytest.raises(StudyDeleted):
        load_study(engine, NAME)


COMMANDS = ["status", "trials", "best", "history", "join", "report", "pause", "extend", "export", "curves", "retune"]
ARGUMENTS = {"extend": ["--budget", "9"], "export": ["--to", "all.csv"], "retune": ["--name", "next"]}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_says_that_optuna_deleted_the_study(
    engine: Engine, command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CAVIAR_DATABASE_URL", address(engine))
    record, study = register(engine, budget=3, epochs=1)
    worker(engine, record, study).run()
    optuna.delete_study(study_name=NAME, storage=address(engine))
    assert run([command, NAME, *ARGUMENTS.get(command, [])]) == 2
    assert "'small' was deleted by another Optuna program" in capsys.readouterr().err.replace("\n", " ")


def test_the_other_commands_go_on_without_the_deleted_study(
    engine: Engine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAVIAR_DATABASE_URL", address(engine))
    register(engine, budget=3)
    optuna.delete_study(study_name=NAME, storage=address(engine))
    assert run(["status"]) == 0
    assert NAME not in capsys.readouterr().out
    run(["doctor"])
    said = capsys.readouterr().out
    assert "those of 'small' were deleted by another Optuna program" in " ".join(said.split())
    assert "caviar delete small" in said
    assert run(["delete", NAME, "--yes"]) == 0
    assert run(["delete", NAME, "--yes"]) == 2
