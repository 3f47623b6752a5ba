"""A definition that changes under a study with trials: what becomes of them, of its slots, and of its workers."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier, Event
from typing import Any

import optuna
import pytest
from optuna.distributions import distribution_to_json
from optuna.search_space import intersection_search_space
from optuna.trial import FrozenTrial
from sqlalchemy import Engine, inspect, text

from caviar.storage.control import set_control
from caviar.storage.curves import read_curve
from caviar.storage.definitions import delete_study, load_study
from caviar.storage.engine import make_engine
from caviar.storage.errors import LeaseLost, StudyNotFound
from caviar.storage.events import log_event, read_events
from caviar.storage.history import History
from caviar.storage.ledger import Ledger
from caviar.storage.records import Lease, Provenance, Report, Slot, StudyRecord
from caviar.storage.revisions import read_versions, revise_study
from caviar.storage.status import read_trials
from caviar.storage.test_results import read_test
from caviar.storage.who import current_user
from caviar.studies.definition import Study, change, to_body
from caviar.studies.errors import DefinitionChanged, MachineMismatch, NotComparable
from caviar.studies.lifecycle import manager
from caviar.studies.lifecycle.manager import definition_of, extend_study, open_study, progress
from caviar.studies.results.conclusion import conclude
from caviar.studies.search.plan import plan
from caviar.studies.search.strategies import Proposer
from caviar.studies.space.base import Value
from caviar.studies.space.scales import Choice, Grid, Linear, Log, LogOneMinus, PowersOfTwo
from caviar.studies.workers.trainer import Trainer
from tests.helpers.epochs import figures, measured
from tests.helpers.studies import skip_without_package, small_study
from tests.helpers.workers import ledger, log, register, worker

BEFORE = small_study(
    tiers=(
        {"learning_rate": Log(1e-3, 1, default=0.1)},
        {
            "momentum": LogOneMinus(0.9, 0.99, default=0.9),
            "hidden_units": Linear(16, 32, default=24),
            "batch_size": PowersOfTwo(128, 256, default=256),
        },
        {
            "layers": Grid(1, 2, 3, default=1),
            "decay": Log(1e-2, 1, default=0, or_zero=True),
            "weight_decay": Log(1e-4, 1e-2, default=1e-4),
            "activation": Choice("relu", "tanh", default="relu"),
        },
    ),
    fixed={"dropout": 0.1},
    strategy="random",
)
# Whatever can change: wider ranges, a floor that moves, 0 allowed, a grid that is not equally spaced any more, a name
# in the middle of others, a value that was fixed and one that was a default, which is stored as something else.
AFTER = change(
    BEFORE,
    budget=12,
    pruner="none",
    tiers=(
        {"learning_rate": Log(1e-4, 2, default=0.1)},
        {
            "momentum": LogOneMinus(0.5, 0.999, default=0.9),
            "hidden_units": Linear(8, 64, default=24),
            "batch_size": PowersOfTwo(64, 512, default=256),
        },
        {
            "layers": Grid(1, 2, 3, 5, default=1),
            "decay": Log(1e-4, 1, default=0, or_zero=True),
            "weight_decay": Log(1e-5, 1e-2, default=1e-4, or_zero=True),
            "activation": Choice("relu", "gelu", "tanh", default="relu"),
        },
        {"dropout": Linear(0.0, 0.5, default=0.1), "optimizer": Choice("adam", "sgd", default="sgd"),
         "beta1": LogOneMinus(0.5, 0.99, default=0.9)},
    ),
    fixed={},
)  # fmt: skip
EDGES: dict[str, Value] = {
    "learning_rate": 1e-3, "momentum": 0.99, "hidden_units": 32, "batch_size": 128, "layers": 3, "decay": 0.0,
    "weight_decay": 1e-4, "activation": "tanh",
}  # fmt: skip
EPOCH = measured(1, 0.5, 0.6, 0.7, 0.1, 0.01)
FILES = {"net.py": "a" * 64, "data/shop.py": "b" * 64}
HERE = Provenance({"optuna": "5.0.0", "numpy": "2.0"}, "caviar of then", "data of then", FILES)
MENDED = {**FILES, "net.py": "c" * 64}


def loaded(engine: Engine, name: str = "small") -> optuna.Study:
    return optuna.load_study(study_name=name, storage=engine.url.render_as_string(hide_password=False))


def accept(engine: Engine, study: Study, provenance: Provenance | None = None) -> StudyRecord:
    return open_study(engine, study, provenance, accept=True)


def begin(engine: Engine, record: StudyRecord, lease: Lease | None, values: Mapping[str, Value] | None = None) -> int:
    """Begin a slot's trial as a worker does that knows `record`; without values, at the default."""
    assert lease is not None
    study = definition_of(record)
    everything = {**{n: s.default for n, s in study.scales().items()}, **(values or {})}
    parameters, beside = {}, {}
    for name, scale in study.scales().items():
        kind = scale.distribution()
        number = kind.to_internal_repr(scale.to_stored(everything[name]))
        parameters[scale.stored_name(name)] = number, distribution_to_json(kind)
        if scale.stored_name(name) != name:
            beside[name] = everything[name]
    return log(engine, record).begin(lease, parameters, beside)


def finish(engine: Engine, record: StudyRecord, who: Ledger, values: Mapping[str, Value] | None = None) -> None:
    """Spend a slot on a trial of one epoch, without training."""
    lease = who.lease()
    trial_id = begin(engine, record, lease, values)
    assert lease is not None
    log(engine, record).record([Report(lease, EPOCH, 0.7)])
    log(engine, record).finish(lease, trial_id, "COMPLETE", 0.7, {})


def values_of(engine: Engine) -> list[dict[str, Value]]:
    """The hyperparameters of all trials that have begun, by the definition of now."""
    record = load_study(engine, "small")
    study = definition_of(record)
    return [study.values(t.parameters) for t in read_trials(engine, record.study_id) if t.parameters]


def everything(engine: Engine) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of all tables."""
    found = {}
    with engine.connect() as connection:
        for schema in ("public", "caviar"):
            for table in inspect(engine).get_table_names(schema=schema):
                rows = connection.execute(text(f"SELECT * FROM {schema}.{table}"))
                found[f"{schema}.{table}"] = sorted(tuple(map(str, row)) for row in rows)
    return found


def slots_of(engine: Engine, study_id: int) -> list[tuple[int, int, str, tuple[str, ...], str]]:
    query = text("SELECT number, tier, phase, free, state FROM caviar.slot WHERE study_id = :s ORDER BY number")
    with engine.connect() as connection:
        return [(n, t, p, tuple(f), s) for n, t, p, f, s in connection.execute(query, {"s": study_id})]


def planned(study: Study) -> list[tuple[int, int, str, tuple[str, ...]]]:
    return [(s.number, s.tier, s.phase, s.free) for s in plan(study)]


def is_whole(engine: Engine, study: Study, trials: Sequence[FrozenTrial] | None = None) -> None:
    """Check that every trial, running ones too, has the search space of the definition, as Optuna reads it."""
    found = list(loaded(engine).get_trials(deepcopy=False) if trials is None else trials)
    assert found
    assert intersection_search_space(found, include_pruned=True) == study.distributions()
    for trial in found:
        assert trial.distributions == study.distributions()


def test_every_trial_keeps_its_values_and_optunas_joint_space_stays_whole(engine: Engine) -> None:
    record, study = open_study(engine, BEFORE), BEFORE
    finish(engine, record, ledger(engine, record), EDGES)
    worker(engine, record, study).run()
    before = values_of(engine)
    assert before[0] == EDGES
    assert len(before) == 8
    curves = [t.intermediate_values for t in loaded(engine).trials]
    is_whole(engine, BEFORE)

    record = accept(engine, AFTER)

    had = {"dropout": 0.1, "optimizer": "sgd", "beta1": 0.9}
    assert values_of(engine) == [{**values, **had} for values in before]
    theirs = loaded(engine)
    is_whole(engine, AFTER)
    assert [AFTER.trained(t.params) for t in theirs.trials] == [{**values, **had} for values in before]
    for trial, values in zip(theirs.trials, before, strict=True):
        for name, scale in AFTER.scales().items():
            if scale.stored_name(name) != name:
                assert trial.user_attrs[name] == {**values, **had}[name]
    assert [t.intermediate_values for t in theirs.trials] == curves

    worker(engine, record, AFTER).run()
    now = progress(engine, record)
    assert (now.done, now.complete, now.budget) == (12, 12, 12)
    is_whole(engine, AFTER)
    assert len(loaded(engine).trials_dataframe()) == 12
    for sampler in (optuna.samplers.TPESampler(multivariate=True), optuna.samplers.GPSampler(seed=0)):
        theirs = loaded(engine)
        space = sampler.infer_relative_search_space(theirs, theirs.trials[0])
        assert space == AFTER.distributions()


@pytest.mark.parametrize("strategy", ["tiered", "classic", "random", "grid", "tpe", "gp", "optuna:CmaEsSampler"])
def test_every_strategy_goes_on_with_trials_of_both_versions(engine: Engine, strategy: str) -> None:
    skip_without_package(strategy)
    study = change(BEFORE, strategy=strategy)
    record = open_study(engine, study)
    who = ledger(engine, record)
    for layers, activation, decay in ((3, "tanh", 0.0), (1, "relu", 0.5), (2, "tanh", 1e-2)):
        finish(engine, record, who, {**EDGES, "layers": layers, "activation": activation, "decay": decay})
    after = change(AFTER, strategy=strategy, budget=30)
    record = accept(engine, after)
    finish(engine, record, ledger(engine, record), {**EDGES, "layers": 5, "activation": "gelu", "decay": 1e-4})
    history = History(engine, record.optuna_study_id, maximize=True)
    history.refresh()
    for number in (5, 29):
        slot = Slot(*planned(after)[number])
        stored = Proposer(after).propose(history.study(), slot).stored
        assert set(stored) == set(after.distributions())
        for name, distribution in after.distributions().items():
            assert distribution._contains(distribution.to_internal_repr(stored[name]))


def test_what_did_not_change_is_not_touched(engine: Engine) -> None:
    record, _ = register(engine)
    worker(engine, record, small_study()).run()

    def numbers() -> list[tuple[Any, ...]]:
        query = "SELECT trial_id, param_name, param_value, distribution_json FROM public.trial_params ORDER BY 1, 2"
        with engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(query))]

    before = numbers()
    untouched = everything(engine)["public.trial_params"]
    record = accept(engine, small_study(budget=9, pruner="none"))
    assert everything(engine)["public.trial_params"] == untouched
    tiers = ({"learning_rate": Log(1e-5, 1, default=0.1)}, *small_study().tiers[1:])
    accept(engine, small_study(budget=9, pruner="none", tiers=tiers))
    after = numbers()
    assert [row[:3] for row in after] == [row[:3] for row in before]
    changed = {a[1] for a, b in zip(after, before, strict=True) if a != b}
    assert changed == {"learning_rate"}


def test_other_studies_and_trials_of_other_programs_are_not_touched(engine: Engine) -> None:
    record = open_study(engine, BEFORE)
    other = open_study(engine, change(BEFORE, name="other"))
    finish(engine, record, ledger(engine, record), EDGES)
    finish(engine, other, ledger(engine, other), EDGES)
    partial = optuna.trial.create_trial(
        params={"learning_rate": 0.1, "mine": 3.0},
        distributions={
            "learning_rate": BEFORE.distributions()["learning_rate"],
            "mine": optuna.distributions.FloatDistribution(0, 4),
        },
        value=0.1,
    )
    loaded(engine).add_trial(partial)
    slots = slots_of(engine, other.study_id)
    accept(engine, AFTER)
    ours, theirs = loaded(engine).trials
    is_whole(engine, AFTER, [ours])
    assert (theirs.params, theirs.distributions) == (partial.params, partial.distributions)
    assert theirs.user_attrs == {}
    is_whole(engine, BEFORE, loaded(engine, "other").trials)
    assert slots_of(engine, other.study_id) == slots
    assert load_study(engine, "other").version == 1


def test_the_winner_of_an_earlier_version_is_tested_as_it_was_trained(engine: Engine) -> None:
    record = open_study(engine, change(BEFORE, budget=3))
    worker(engine, record, change(BEFORE, budget=3)).run()
    best = progress(engine, record).best
    assert best is not None
    record = accept(engine, change(AFTER, budget=4))
    set_control(engine, record.study_id, "stop")
    with engine.begin() as connection:  # trained again from its values, as if its weights were lost
        connection.execute(text("DELETE FROM caviar.checkpoint"))
    conclude(engine, record, Path("nowhere"))
    tested = read_test(engine, record.study_id, best.slot.number)
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM caviar.test_result"))
    other = open_study(engine, change(BEFORE, budget=3, name="other"))
    worker(engine, other, change(BEFORE, budget=3, name="other")).run()
    conclude(engine, other, Path("nowhere"))
    assert read_test(engine, other.study_id, best.slot.number) == tested
    assert tested is not None


def test_a_small_plan_becomes_a_large_one_where_nothing_has_begun(engine: Engine) -> None:
    record, study = register(engine, budget=12, strategy="classic")
    who = ledger(engine, record)
    for _ in range(3):
        finish(engine, record, who)
    running, leased, given_back = (who.lease() for _ in range(3))
    for lease in (running, given_back):
        begin(engine, record, lease)
    assert leased is not None
    assert given_back is not None
    who.release(given_back)
    before = slots_of(engine, record.study_id)
    assert [slot[4] for slot in before] == ["done"] * 3 + ["leased", "leased", "open"] + ["open"] * 6

    record = extend_study(engine, record, 40)

    after = slots_of(engine, record.study_id)
    assert [slot[0] for slot in after] == list(range(40))
    begun = [0, 1, 2, 3, 5]
    assert [after[n] for n in begun] == [before[n] for n in begun]
    larger = planned(small_study(budget=40, strategy="classic"))
    for number in set(range(40)) - set(begun):
        assert after[number] == (*larger[number], "open")
    assert planned(study)[6:] != larger[6:12]  # the plans are really different ones
    assert definition_of(record) == small_study(budget=40, strategy="classic")
    assert progress(engine, record).budget == 40


def test_extending_appends_and_renumbers_nothing(engine: Engine) -> None:
    record, study = register(engine)
    worker(engine, record, study).run()
    before = read_trials(engine, record.study_id)
    record = extend_study(engine, record, 11)
    after = read_trials(engine, record.study_id)
    assert after[:8] == before
    assert [(t.slot.number, t.state) for t in after[8:]] == [(8, "open"), (9, "open"), (10, "open")]
    worker(engine, record, definition_of(record)).run()
    assert [t.number for t in loaded(engine).trials] == list(range(11))
    assert progress(engine, record).done == 11
    for budget in (11, 10, 1):
        with pytest.raises(NotComparable, match="'small' has a budget of 11 trials already; give more than that"):
            extend_study(engine, record, budget)
    assert load_study(engine, "small").version == 2


def test_two_extends_at_once(engine: Engine) -> None:
    record, _ = register(engine)
    barrier = Barrier(4)

    def extend(budget: int) -> str:
        own = make_engine(engine.url)
        barrier.wait()
        try:
            return str(definition_of(extend_study(own, record, budget)).budget)
        except NotComparable as error:
            return str(error)
        finally:
            own.dispose()

    with ThreadPoolExecutor(4) as pool:
        told = list(pool.map(extend, [20, 12, 20, 16]))
    assert "20" in told
    assert all(t.isdigit() or "trials already; give more" in t for t in told)
    now = load_study(engine, "small")
    assert definition_of(now).budget == 20
    assert [slot[:4] for slot in slots_of(engine, now.study_id)] == planned(small_study(budget=20))
    versions = read_versions(engine, now.study_id)
    assert [v.version for v in versions] == list(range(1, now.version + 1))
    budgets = [v.body["budget"] for v in versions]
    assert budgets == sorted(set(budgets))


@pytest.fixture
def quicker(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Lets somebody else do something in the moment between another's look at a study and its revision."""

    def before(somebody_else: Callable[[], object]) -> None:
        def late(*arguments: Any) -> bool:
            monkeypatch.setattr(manager, "revise_study", revise_study)
            somebody_else()
            return revise_study(*arguments)

        monkeypatch.setattr(manager, "revise_study", late)

    return before


Quicker = Callable[[Callable[[], object]], None]


def test_an_extension_that_was_late_looks_again(engine: Engine, quicker: Quicker) -> None:
    record, _ = register(engine)
    quicker(lambda: accept(engine, small_study(pruner="none", budget=9)))
    assert definition_of(extend_study(engine, record, 10)) == small_study(pruner="none", budget=10)
    quicker(lambda: extend_study(engine, load_study(engine, "small"), 12))
    with pytest.raises(NotComparable, match="has a budget of 12 trials already"):
        extend_study(engine, load_study(engine, "small"), 11)
    quicker(lambda: delete_study(engine, record))
    with pytest.raises(StudyNotFound):
        extend_study(engine, load_study(engine, "small"), 20)


def test_the_same_change_from_two_machines_is_one_version(engine: Engine, quicker: Quicker) -> None:
    record = open_study(engine, BEFORE)
    finish(engine, record, ledger(engine, record))
    quicker(lambda: accept(engine, AFTER))
    assert accept(engine, AFTER).version == 2
    assert len(read_events(engine, record.study_id, "definition changed")) == 1


def test_what_was_accepted_is_only_what_was_shown(engine: Engine, quicker: Quicker) -> None:
    record = open_study(engine, BEFORE)
    finish(engine, record, ledger(engine, record))
    quicker(lambda: accept(engine, change(BEFORE, pruner="none")))
    with pytest.raises(DefinitionChanged, match="pruner: none before, pace now"):
        accept(engine, change(BEFORE, budget=9))
    assert definition_of(load_study(engine, "small")) == change(BEFORE, pruner="none")


def test_workers_that_know_the_older_version_lease_nothing_and_leave(engine: Engine) -> None:
    record = open_study(engine, BEFORE)
    finish(engine, record, ledger(engine, record))
    old, idle = worker(engine, record, BEFORE), ledger(engine, record)
    accept(engine, AFTER)
    assert idle.lease() is None
    assert idle.standing().version == 2
    old.run()
    assert progress(engine, record).done == 1
    query = "SELECT count(*) FROM caviar.worker WHERE ended_at IS NOT NULL"
    with engine.connect() as connection:
        assert connection.scalar(text(query)) == 1


def at_an_epoch(who: Any, number: int, epoch: int, act: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let something happen just before a worker writes that epoch of that trial."""
    record = who.context.log.record

    def recorded(reports: Sequence[Report]) -> Any:
        if (number, epoch) in [(report.lease.slot.number, report.epoch.epoch) for report in reports]:
            act()
        return record(reports)

    monkeypatch.setattr(who.context.log, "record", recorded)


Curve = list[tuple[float, ...]]


def curve(engine: Engine, study_id: int, number: int) -> Curve:
    return figures(read_curve(engine, study_id, number))


@pytest.fixture
def undisturbed(engine: Engine) -> Curve:
    """The curve of trial 1, where nothing happens."""
    study = change(BEFORE, name="undisturbed", budget=3, epochs=4)
    record = open_study(engine, study)
    worker(engine, record, study).run()
    return curve(engine, record.study_id, 1)


def test_a_trial_that_runs_during_the_change_finishes(
    engine: Engine, undisturbed: Curve, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = change(BEFORE, budget=3, epochs=4)
    record = open_study(engine, study)
    old = worker(engine, record, study)
    after = change(AFTER, budget=5, epochs=4)
    at_an_epoch(old, 1, 2, lambda: accept(engine, after), monkeypatch)
    old.run()
    trials = read_trials(engine, record.study_id)
    assert [t.state for t in trials] == ["complete", "complete", "open", "open", "open"]
    assert trials[1].attempts == 1
    assert curve(engine, record.study_id, 1) == undisturbed
    is_whole(engine, after)
    record = load_study(engine, "small")
    worker(engine, record, after).run()
    assert progress(engine, record).complete == 5
    is_whole(engine, after)


def test_a_trial_that_was_given_back_goes_on_with_the_same_curve(
    engine: Engine, undisturbed: Curve, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = change(BEFORE, budget=3, epochs=4)
    record = open_study(engine, study)
    old = worker(engine, record, study)
    at_an_epoch(old, 1, 2, lambda: set_control(engine, record.study_id, "pause"), monkeypatch)
    old.run()
    assert [t.epoch for t in read_trials(engine, record.study_id)] == [4, 2, 0]
    values = values_of(engine)[1]
    after = change(AFTER, budget=4, epochs=4)
    record = accept(engine, after)
    assert load_study(engine, "small").control == "run"
    worker(engine, record, after).run()
    trial = read_trials(engine, record.study_id)[1]
    assert (trial.attempts, trial.state) == (2, "complete")
    assert {name: values_of(engine)[1][name] for name in values} == values
    assert curve(engine, record.study_id, 1) == undisturbed
    is_whole(engine, after)


def test_a_slot_that_was_leased_before_the_change_is_begun_by_nobody_who_does_not_know_it(engine: Engine) -> None:
    record = open_study(engine, BEFORE)
    finish(engine, record, ledger(engine, record))
    old = worker(engine, record, BEFORE)
    lease = old.context.ledger.lease()
    assert lease is not None
    record = accept(engine, AFTER)
    Trainer(old.context).work_on(lease)
    with pytest.raises(LeaseLost):
        begin(engine, load_study(engine, "small"), lease)
    assert slots_of(engine, record.study_id)[1] == (*planned(AFTER)[1], "open")
    assert len(loaded(engine).trials) == 1
    old.run()  # and leaves
    again = ledger(engine, record).lease()
    assert again is not None
    assert (again.slot.number, again.slot.free) == (1, planned(AFTER)[1][3])
    begin(engine, record, again)
    is_whole(engine, AFTER)


def test_a_lease_of_before_that_is_taken_by_an_older_worker_all_the_same_is_given_back(engine: Engine) -> None:
    """A lease that was under way during the change: its worker finds the new version when it begins."""
    record = open_study(engine, BEFORE)
    finish(engine, record, ledger(engine, record))
    old = worker(engine, record, BEFORE)
    accept(engine, AFTER)
    old.context.ledger._version = 2
    lease = old.context.ledger.lease()
    old.context.ledger._version = 1
    assert lease is not None
    Trainer(old.context).work_on(lease)
    assert slots_of(engine, record.study_id)[1][4] == "open"
    assert len(loaded(engine).trials) == 1


def test_a_begin_that_waits_for_the_change_to_end_writes_nothing(engine: Engine) -> None:
    """PostgreSQL reads the version as of the begin's start, which was before the change."""
    record = open_study(engine, BEFORE)
    who = ledger(engine, record)
    finish(engine, record, who, EDGES)
    lease = who.lease()
    watching = make_engine(engine.url)
    waiting = text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'tuple'"
                   " OR datname = current_database() AND wait_event = 'transactionid'")  # fmt: skip
    own = make_engine(engine.url)
    with ThreadPoolExecutor(1) as pool:
        begun = []

        def in_the_middle(stored: Any) -> Any:
            begun.append(pool.submit(begin, own, record, lease))
            deadline = time.monotonic() + 20
            while True:
                with watching.connect() as connection:
                    if connection.scalar(waiting):
                        break
                assert time.monotonic() < deadline, "it does not wait"
                time.sleep(0.01)
            return manager.rewrite(BEFORE, AFTER, stored)

        slots = manager.plan(AFTER)
        assert revise_study(engine, record, to_body(AFTER), record.provenance, ["a test"], slots, in_the_middle)
        with pytest.raises(LeaseLost):
            begun[0].result(timeout=20)
    own.dispose()
    watching.dispose()
    is_whole(engine, AFTER)
    assert slots_of(engine, record.study_id)[1] == (*planned(AFTER)[1], "open")


def test_a_change_waits_for_a_trial_that_is_just_begun(engine: Engine) -> None:
    record = open_study(engine, BEFORE)
    who = ledger(engine, record)
    finish(engine, record, who, EDGES)
    own = make_engine(engine.url)
    with ThreadPoolExecutor(1) as pool, engine.begin() as connection:
        query = "SELECT FROM caviar.study WHERE study_id = :s FOR NO KEY UPDATE"  # as a begin holds it to its end
        connection.execute(text(query), {"s": record.study_id})
        revised = pool.submit(accept, own, AFTER)
        time.sleep(0.3)
        assert not revised.done()
        connection.rollback()
        assert revised.result(timeout=20).version == 2
    own.dispose()


def test_a_change_and_a_lease_that_is_taken_back_do_not_wait_for_one_another(engine: Engine) -> None:
    """Whoever takes a lost slot back writes an event after that, which needs the study's row to stay."""
    record = open_study(engine, BEFORE)
    who = ledger(engine, record)
    finish(engine, record, who)
    who.lease()
    own = make_engine(engine.url)
    with ThreadPoolExecutor(1) as pool:
        with engine.begin() as connection:
            connection.execute(text("UPDATE caviar.slot SET losses = losses + 1 WHERE number = 1"))
            revised = pool.submit(accept, own, AFTER)
            time.sleep(0.3)
            assert not revised.done()
            log_event(connection, record.study_id, "lease expired", slot=1)
        assert revised.result(timeout=20).version == 2
    own.dispose()


def test_many_changes_while_many_begin(engine: Engine) -> None:
    """Every trial has the last definition's space in the end, and every slot one trial, whoever was in between."""
    start = small_study(strategy="random", tiers=({"learning_rate": Log(1e-3, 1, default=0.1)},), budget=8)
    open_study(engine, start)
    changes, failed = 12, Event()

    def version(number: int) -> Study:
        wider = Log(1e-3 / (number + 1), 1, default=0.1, or_zero=number >= changes // 2)
        tiers: list[dict[str, Any]] = [{"learning_rate": wider}]
        if number >= 3:
            tiers.append({"momentum": LogOneMinus(0.9, 0.999, default=0.9)})
        return change(start, budget=8 + 4 * number, tiers=tiers)

    def work(_: int) -> None:
        own = make_engine(engine.url)
        while not failed.is_set():
            record = load_study(own, "small")
            who = ledger(own, record)
            try:
                while (lease := who.lease()) is not None:
                    trial_id = begin(own, record, lease)
                    log(own, record).record([Report(lease, EPOCH, 0.7)])
                    log(own, record).finish(lease, trial_id, "COMPLETE", 0.7, {})
            except LeaseLost:
                continue
            if record.version > changes and who.standing().open == 0:
                break
        own.dispose()

    def revise(_: int) -> None:
        own = make_engine(engine.url)
        try:
            for number in range(1, changes + 1):
                assert accept(own, version(number)).version == number + 1
                time.sleep(0.03)
        except BaseException:
            failed.set()
            raise
        own.dispose()

    with ThreadPoolExecutor(5) as pool:
        done = [pool.submit(work, n) for n in range(4)] + [pool.submit(revise, 0)]
        for future in done:
            future.result(timeout=60)
    record = load_study(engine, "small")
    is_whole(engine, version(changes))
    assert [t.number for t in loaded(engine).trials] == list(range(8 + 4 * changes))
    last = version(changes)
    assert [slot[:4] for slot in slots_of(engine, record.study_id)[-4:]] == planned(last)[-4:]
    assert {tuple(v.items()) for v in values_of(engine)} == {(("learning_rate", 0.1), ("momentum", 0.9))}


def test_without_accept_nothing_is_changed(engine: Engine) -> None:
    record = open_study(engine, BEFORE, HERE)
    finish(engine, record, ledger(engine, record))
    set_control(engine, record.study_id, "stop")
    before = everything(engine)
    elsewhere = replace(HERE, packages={"optuna": "5.1.0", "numpy": "2.1"})
    with pytest.raises(DefinitionChanged, match=r"budget: 8 before, 12 now; .* with --accept, .* --name small-2$"):
        open_study(engine, AFTER, elsewhere)
    for fields in ({"model": "cnn"}, {"data": "mnist"}, {"metric": "loss", "direction": "minimize"}, {"seed": 1}):
        with pytest.raises(NotComparable, match=r"run this one under a new name: --name small-2$"):
            open_study(engine, change(BEFORE, budget=9, **fields), elsewhere, accept=True)
    assert everything(engine) == before
    record = accept(engine, AFTER, elsewhere)
    assert record.version == 2
    assert load_study(engine, "small").control == "run"


def test_a_version_tells_what_changed_and_what_it_was_computed_with(engine: Engine) -> None:
    record = open_study(engine, BEFORE, HERE)
    finish(engine, record, ledger(engine, record))
    accept(engine, change(BEFORE, pruner="none"), replace(HERE, packages={"optuna": "5.1.0"}, files=MENDED))
    extend_study(engine, load_study(engine, "small"), 10)
    first, second, third = read_versions(engine, record.study_id)
    assert (first.version, first.changes, first.provenance) == (1, (), HERE)
    assert first.body == to_body(BEFORE)
    assert second.changes == ("pruner: pace before, none now", "code: net.py changed")
    assert (second.provenance.files, second.provenance.data) == (MENDED, HERE.data)
    assert third.changes == ("budget: 8 before, 10 now",)
    assert third.provenance == second.provenance  # an extension computes nothing
    assert third.body == to_body(change(BEFORE, pruner="none", budget=10))
    told = [e.detail for e in read_events(engine, record.study_id, "definition changed")]
    assert told == [
        {"version": 2, "changes": list(second.changes), "by": current_user()},
        {"version": 3, "changes": list(third.changes), "by": current_user()},
    ]


def test_while_nothing_is_complete_a_change_is_free(engine: Engine) -> None:
    record = open_study(engine, BEFORE, HERE)
    mended = replace(HERE, files=MENDED)
    who = ledger(engine, record)
    lease = who.lease()
    trial_id = begin(engine, record, lease)
    assert lease is not None
    with pytest.raises(DefinitionChanged):  # somebody trains with the code of before
        open_study(engine, BEFORE, mended)
    log(engine, record).finish(lease, trial_id, "FAIL", None, {})
    record = open_study(engine, BEFORE, mended)
    assert (record.version, record.provenance.files) == (2, MENDED)
    assert open_study(engine, change(BEFORE, budget=9), mended).version == 3
    with pytest.raises(NotComparable):
        open_study(engine, change(BEFORE, budget=9, seed=1), mended)
    record = load_study(engine, "small")
    finish(engine, record, ledger(engine, record))
    with pytest.raises(DefinitionChanged, match=r"code: net\.py changed"):
        open_study(engine, change(BEFORE, budget=9), HERE)
    assert accept(engine, change(BEFORE, budget=9), HERE).version == 4


def test_other_data_are_refused_even_while_nothing_is_complete(engine: Engine) -> None:
    open_study(engine, BEFORE, HERE)
    for code in (HERE.code, "other code"):
        with pytest.raises(NotComparable, match="data: data of then before, data of now now"):
            accept(engine, BEFORE, replace(HERE, code=code, data="data of now"))
    assert load_study(engine, "small").version == 1


def test_another_major_version_of_optuna_is_refused_and_other_versions_are_noted(engine: Engine) -> None:
    record = open_study(engine, BEFORE, HERE)
    before = everything(engine)
    for version in ("4.9.0", "6.0.0"):
        with pytest.raises(
            MachineMismatch, match=f"begun with optuna 5.0.0, and this machine has {version}: .* optuna 5 here"
        ):
            accept(engine, AFTER, Provenance({"optuna": version}, "c", "d", {}))
    assert everything(engine) == before
    record = open_study(engine, BEFORE, replace(HERE, packages={"optuna": "5.2.0", "numpy": "2.0"}))
    assert record.version == 1
    (told,) = read_events(engine, record.study_id, "other versions")
    assert told.detail == {"optuna": "5.0.0 there, 5.2.0 here"}


def test_what_was_begun_without_a_provenance_is_not_compared(engine: Engine) -> None:
    open_study(engine, BEFORE)
    assert open_study(engine, BEFORE, HERE).version == 1
    assert open_study(engine, BEFORE).version == 1


def test_the_file_of_an_earlier_version_goes_on_with_the_current_one(engine: Engine) -> None:
    record = open_study(engine, BEFORE, HERE)
    finish(engine, record, ledger(engine, record))
    accept(engine, change(BEFORE, budget=9), HERE)
    accept(engine, AFTER, HERE)
    set_control(engine, record.study_id, "stop")
    for earlier in (BEFORE, change(BEFORE, budget=9), AFTER):
        record = open_study(engine, earlier, HERE)
        assert (record.version, definition_of(record)) == (3, AFTER)
    assert load_study(engine, "small").control == "run"
    with pytest.raises(NotComparable):  # it was never a version
        accept(engine, change(BEFORE, budget=10), HERE)


def test_the_file_of_an_earlier_version_does_not_come_back_with_other_code(engine: Engine) -> None:
    record = open_study(engine, BEFORE, HERE)
    finish(engine, record, ledger(engine, record))
    accept(engine, AFTER, HERE)
    mended = replace(HERE, files=MENDED)
    with pytest.raises(DefinitionChanged, match=r"\(code: net\.py changed\): nobody can tell"):
        open_study(engine, BEFORE, mended)
    record = accept(engine, BEFORE, mended)
    assert (record.version, record.provenance.files) == (3, MENDED)
    assert definition_of(record) == AFTER
    assert len(slots_of(engine, record.study_id)) == 12
    is_whole(engine, AFTER)


def test_the_winner_is_tested_by_the_definition_that_it_was_trained_by(engine: Engine) -> None:
    before = change(BEFORE, budget=3, epochs=1)
    record = open_study(engine, before)
    after = change(before, budget=4, fixed={}, tiers=(*before.tiers, {"dropout": Linear(0.0, 0.5, default=0.1)}))
    revised = accept(engine, after)
    worker(engine, revised, after).run()
    assert conclude(engine, record, Path("nowhere"))  # by a command that knows the definition it was started with
    assert read_events(engine, record.study_id, "checkpoint refused") == []
    first = progress(engine, record).best
    assert first is not None
    told = read_test(engine, record.study_id, first.slot.number)
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM caviar.test_result"))
    conclude(engine, revised, Path("nowhere"))
    assert read_test(engine, record.study_id, first.slot.number) == told


def test_a_command_shows_a_study_by_its_current_definition(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import caviar.studies.workers.local.supervisor as module
    from caviar.studies.cli import run

    record = open_study(engine, change(BEFORE, budget=3, epochs=1))
    revised = change(
        definition_of(record), budget=4, tiers=({"learning_rate": Log(1e-4, 2, default=0.1)}, *BEFORE.tiers[1:])
    )
    shown: list[Study] = []
    real = module.Outcome

    def outcome(of: StudyRecord, *rest: Any) -> Any:
        shown.append(definition_of(of))
        return real(of, *rest)

    def ended(*arguments: Any) -> int:
        accept(engine, revised)
        return 0

    monkeypatch.setattr(module, "Outcome", outcome)
    monkeypatch.setattr(module, "free_dead_workers", ended)
    monkeypatch.setenv("CAVIAR_DATABASE_URL", engine.url.render_as_string(hide_password=False))
    assert run(["join", "small", "--workers", "1"]) == 0, capsys.readouterr()
    assert shown == [revised]


def test_accepted_code_is_in_the_history_with_its_commit(engine: Engine) -> None:
    then = replace(HERE, commit="a" * 40, remote="https://host/shop")
    record = open_study(engine, BEFORE, then)
    finish(engine, record, ledger(engine, record))
    now = replace(then, files={**MENDED, "new.py": "d"}, commit="b" * 40 + "-dirty")
    said = r"net\.py changed; new\.py new; commit aaaaaaaaaaaa before, bbbbbbbbbbbb-dirty now\): nobody can tell .*"
    with pytest.raises(
        DefinitionChanged, match=said + r"go back to that code \(commit aaaaaaaaaaaa of https://host/shop\)"
    ):
        open_study(engine, BEFORE, now)
    assert load_study(engine, "small").provenance == then
    assert accept(engine, BEFORE, now).provenance == now
    assert open_study(engine, BEFORE, now).version == 2
    (event,) = read_events(engine, record.study_id, "definition changed")
    assert event.detail["changes"] == [
        "code: net.py changed; new.py new; commit aaaaaaaaaaaa before, bbbbbbbbbbbb-dirty now"
    ]
