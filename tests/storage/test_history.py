"""A study's trials in memory: read once and quickly, kept up to date, and the same for every reader."""

from __future__ import annotations

import optuna
import pytest
from optuna.trial import TrialState
from sqlalchemy import Engine, event

from caviar.storage.history import History
from caviar.studies.search.pruners import make_pruner
from tests.helpers.workers import register, worker


def trained(engine: Engine, **fields: object) -> History:
    record, study = register(engine, epochs=6, **fields)
    worker(engine, record, study).run()
    return History(engine, record.optuna_study_id, maximize=True)


def test_curves_are_read_when_they_are_needed_and_are_optunas(engine: Engine) -> None:
    history = trained(engine, pruner="none", strategy="random")
    history.refresh()
    assert all(trial.intermediate_values == {} for trial in history.get_all_trials(0))
    theirs = optuna.load_study(study_name="small", storage=engine.url.render_as_string(hide_password=False)).trials
    statements: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *a: statements.append(a[2]))
    read = history.complete(1000).get_trials(deepcopy=False)
    assert {t.number: t.intermediate_values for t in read} == {
        t.number: t.intermediate_values for t in theirs if t.state == TrialState.COMPLETE
    }
    history.complete(1000)
    assert len(statements) == 1


def test_what_ends_later_comes_with_its_curve(engine: Engine) -> None:
    record, study = register(engine, epochs=3, pruner="none")
    history = History(engine, record.optuna_study_id, maximize=True)
    history.refresh()
    worker(engine, record, study).run()
    history.refresh()
    assert [len(trial.intermediate_values) for trial in history.get_all_trials(0)] == [0] * 8  # still the first reading
    assert [len(trial.intermediate_values) for trial in history.complete(1000).trials] == [3] * 8


def test_a_trial_that_ends_between_two_readings_has_its_curve(engine: Engine) -> None:
    from caviar.storage.records import Report
    from tests.helpers.epochs import measured
    from tests.helpers.leases import PARAMETERS, lease_of
    from tests.helpers.workers import ledger, log

    record, _ = register(engine)
    who, history = ledger(engine, record), History(engine, record.optuna_study_id, maximize=True)
    lease = lease_of(who.lease())
    trial_id = log(engine, record).begin(lease, PARAMETERS, {})
    log(engine, record).record([Report(lease, measured(1, 0.5, 0.6, 0.7, 0.1, 0.01), 0.7)])
    history.refresh()
    assert history.trial(trial_id).intermediate_values == {1: 0.7}
    log(engine, record).record([Report(lease, measured(2, 0.5, 0.6, 0.8, 0.1, 0.01), 0.8)])
    log(engine, record).finish(lease, trial_id, "COMPLETE", 0.8, {})
    history.refresh()
    assert history.complete(1000).trials[0].intermediate_values == {1: 0.7, 2: 0.8}


def test_a_trial_that_runs_elsewhere_is_read_again_when_it_is_taken_up(engine: Engine) -> None:
    from caviar.storage.records import Report
    from tests.helpers.epochs import measured
    from tests.helpers.leases import PARAMETERS, lease_of
    from tests.helpers.workers import ledger, log

    record, _ = register(engine)
    who, history = ledger(engine, record), History(engine, record.optuna_study_id, maximize=True)
    lease = lease_of(who.lease())
    trial_id = log(engine, record).begin(lease, PARAMETERS, {})
    history.refresh()
    log(engine, record).record([Report(lease, measured(1, 0.5, 0.6, 0.7, 0.1, 0.01), 0.7)])
    history.refresh()
    assert history.trial(trial_id).intermediate_values == {}
    history.refresh(anew=trial_id)
    assert history.trial(trial_id).intermediate_values == {1: 0.7}


def test_of_many_trials_some_are_compared_which_are_spread_over_the_search(engine: Engine) -> None:
    history = trained(engine, budget=20, pruner="none", strategy="random")
    history.refresh()
    assert [t.number for t in history.complete(1000).trials] == list(range(20))
    compared = history.complete(8)
    best = max(history.study().trials, key=lambda t: t.value or 0.0).number
    assert [t.number for t in history.complete(0).trials] == [best]
    assert [t.number for t in compared.trials] == sorted({0, 3, 6, 9, 12, 15, 18, best})
    trial = optuna.trial.create_trial(state=TrialState.RUNNING, intermediate_values=dict.fromkeys(range(1, 6), 0.0))
    assert make_pruner("median").reason_to_stop(history, trial, ()) == "worse than the median at epoch 5"


def test_the_trials_that_ended_have_their_curves_pruned_ones_too(engine: Engine) -> None:
    history = trained(engine, budget=12, pruner="optuna:SuccessiveHalvingPruner(reduction_factor=2)")
    history.refresh()
    ended = history.ended(1000).trials
    assert [t.number for t in ended] == list(range(12))
    assert {t.state for t in ended} == {TrialState.COMPLETE, TrialState.PRUNED}
    assert all(list(t.intermediate_values) == list(range(1, len(t.intermediate_values) + 1)) for t in ended)
    assert {len(t.intermediate_values) for t in ended if t.state == TrialState.COMPLETE} == {6}
    assert [t.number for t in history.ended(4).trials] == [0, 3, 6, 9]
    assert history.ended(0).trials == []


def test_the_best_are_complete_and_sound_and_the_first_of_equal_ones(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.helpers.leases import PARAMETERS, lease_of
    from tests.helpers.workers import ledger, log

    monkeypatch.setattr("caviar.storage.history.BEST", 3)
    record, _ = register(engine)
    who, history = ledger(engine, record), History(engine, record.optuna_study_id, maximize=True)
    history.refresh()
    ends: list[tuple[str, float, dict[str, object]]] = [
        ("COMPLETE", 0.3, {}), ("COMPLETE", 0.9, {"constraints": {"diverged": 1.0}}), ("PRUNED", 0.8, {}),
        ("COMPLETE", 0.5, {}), ("COMPLETE", 0.5, {}), ("COMPLETE", 0.4, {}),
    ]  # fmt: skip
    found = []
    for state, value, more in ends:
        lease = lease_of(who.lease())
        trial_id = log(engine, record).begin(lease, PARAMETERS, {})
        log(engine, record).finish(lease, trial_id, state, value, {}, **more)  # type: ignore[arg-type]
        history.refresh()
        found.append([t.number for t in history.best()])
    assert found == [[0], [0], [0], [3, 0], [3, 4, 0], [3, 4, 5]]
    assert history.fallen() == [0]
    assert history.fallen() == []
    fresh = History(engine, record.optuna_study_id, maximize=True)  # which reads them all at once
    fresh.refresh()
    assert [t.number for t in fresh.best()] == [3, 4, 5]
    assert fresh.fallen() == []  # others have seen them fall
    lowest = History(engine, record.optuna_study_id, maximize=False)
    lowest.refresh()
    assert [t.number for t in lowest.best()] == [0, 5, 3]
