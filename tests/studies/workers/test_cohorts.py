"""A worker that trains several trials as one program: each is leased, written, judged and ended by itself."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Sequence
from concurrent.futures import wait
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
import torch
from sqlalchemy import Engine, event, text
from torch import Tensor, nn

from caviar.models.cohort import Cohort
from caviar.models.training import Interrupted
from caviar.storage.control import kill_trial
from caviar.storage.curves import read_curve
from caviar.storage.errors import DatabaseAway
from caviar.storage.events import read_events
from caviar.storage.losses import SUSPECT
from caviar.storage.records import Lease, StudyRecord
from caviar.storage.status import read_trials
from caviar.storage.workers import read_workers
from caviar.studies.lifecycle.manager import progress
from caviar.studies.space.scales import Grid, Linear, Log, PowersOfTwo
from caviar.studies.workers.worker import Worker
from tests.helpers.epochs import figures
from tests.helpers.faulty_net import StopAfter
from tests.helpers.leases import expire, lease_of
from tests.helpers.outages import Away
from tests.helpers.workers import ledger, register, register_process, worker

LOSS, IMAGES = 1e-2, 3  # as in tests/models/test_cohort.py
ONE_KIND = ({"learning_rate": Log(1e-2, 1, default=0.1), "hidden_units": Linear(50, 60, default=50)},)
# Chosen at random, whatever others do, so that a slot has the same values in every run.
FIXED = {"strategy": "random", "tiers": ONE_KIND, "fixed": {"batch_size": 128}, "pruner": "none", "epochs": 3}


def curve(engine: Engine, record: StudyRecord, number: int) -> list[tuple[float, ...]]:
    return figures(read_curve(engine, record.study_id, number))


def numbers(leases: Sequence[Lease]) -> list[int]:
    return [lease.slot.number for lease in leases]


def alone(engine: Engine, budget: int, **fields: Any) -> list[list[tuple[float, ...]]]:
    record, study = register(engine, budget=budget, **{**FIXED, "name": "alone", **fields})
    worker(engine, record, study).run()
    return [curve(engine, record, number) for number in range(budget)]


def assert_same(found: Sequence[tuple[float, ...]], expected: Sequence[tuple[float, ...]]) -> None:
    assert [e[0] for e in found] == [e[0] for e in expected]
    for one, two in zip(found, expected, strict=True):
        assert one[1:3] == pytest.approx(two[1:3], abs=LOSS)
        assert one[3] == pytest.approx(two[3], abs=IMAGES / 359)


def test_trials_have_the_curves_that_they_have_alone_at_one_transaction_an_epoch(engine: Engine) -> None:
    expected = alone(engine, 9)
    record, study = register(engine, budget=9, **FIXED)
    written: list[int] = []

    @event.listens_for(engine, "before_cursor_execute")
    def count(conn: Any, cursor: Any, statement: str, parameters: Any, *rest: Any) -> None:
        if "INSERT INTO caviar.epoch" in statement:
            written.append(len(parameters["slot"]))

    worker(engine, record, study, cohort=4).run()
    for number in range(9):
        assert_same(curve(engine, record, number), expected[number])
    assert written == [1] * 3 + [4] * 6  # the default, then two cohorts of four
    assert [t.attempts for t in read_trials(engine, record.study_id)] == [1] * 9
    assert [t.state for t in read_trials(engine, record.study_id)] == ["complete"] * 9


def test_mixed_kinds_are_trained_side_by_side(engine: Engine) -> None:
    fields = {"strategy": "random", "pruner": "none", "epochs": 2}
    expected = alone(engine, 9, tiers=register(engine, name="tiers")[1].tiers, fixed={}, **fields)
    record, study = register(engine, budget=9, **fields)
    worker(engine, record, study, cohort=8).run()
    for number in range(9):
        assert_same(curve(engine, record, number), expected[number])


def test_a_free_place_is_taken_by_the_next_slot_at_the_next_epoch(engine: Engine) -> None:
    record, study = register(engine, budget=6, **{**FIXED, "epochs": 4})
    who = worker(engine, record, study, cohort=3)
    seen: list[tuple[int, ...]] = []
    real = who.context.log.record

    def record_and_kill(reports: Any) -> Any:
        seen.append(tuple(sorted(report.lease.slot.number for report in reports)))
        if seen[-1] == (1, 2, 3) and len(seen) == 5:  # slot 0 had four epochs
            kill_trial(engine, record, 2)
        return real(reports)

    who.context.log.record = record_and_kill  # type: ignore[method-assign]
    who.run()
    assert seen[4:8] == [(1, 2, 3), (1, 3, 4), (1, 3, 4), (1, 3, 4)]
    trials = read_trials(engine, record.study_id)
    assert [t.state for t in trials] == ["complete", "complete", "pruned", "complete", "complete", "complete"]
    assert [t.epoch for t in trials] == [4, 4, 1, 4, 4, 4]


def test_slots_of_one_phase_are_shared_among_the_workers_that_are_alive(engine: Engine) -> None:
    record, _ = register(engine, budget=14, **FIXED)
    first, second = ledger(engine, record), ledger(engine, record)
    default = lease_of(first.lease())
    assert first.lease_more(default, 8) == []  # of another phase
    head = lease_of(first.lease())
    assert numbers(first.lease_more(head, 8)) == [2, 3, 4, 5, 6, 7]  # half of the 12 open ones
    other = lease_of(second.lease())
    assert numbers(second.lease_more(other, 1)) == [9]
    assert first.lease_more(replace(head, token=uuid4()), 1) == []  # a lease that was lost
    (status,) = [w for w in read_workers(engine, record.study_id) if len(w.trials) == 2]
    assert [(t.trial, t.epoch) for t in status.trials] == [(8, 0), (9, 0)]


def test_the_default_is_trained_with_the_coarse_trials_of_its_tier(engine: Engine) -> None:
    record, study = register(engine, budget=40)
    who = ledger(engine, record)
    beside = who.lease_more(lease_of(who.lease()), 40)
    assert beside
    assert {(lease.slot.tier, lease.slot.phase) for lease in beside} == {(1, "coarse")}
    assert study.strategy == "tiered"


def test_a_slot_whose_workers_were_lost_twice_is_trained_alone(engine: Engine) -> None:
    record, _ = register(engine, budget=8, **FIXED)
    who = ledger(engine, record)
    lease_of(who.lease())
    for _ in range(SUSPECT):
        head = lease_of(who.lease())
        assert head.slot.number == 1
        expire(engine, head)
    fine = lease_of(ledger(engine, record).lease())
    assert fine.slot.number == 1  # the suspect is next all the same
    assert who.lease_more(fine, 8) == []
    other = lease_of(who.lease())
    expire(engine, fine)
    who.standing()
    assert 1 not in numbers(who.lease_more(other, 8))


def test_a_response_that_was_not_heard_is_heard_again(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    record, _ = register(engine, budget=8, **FIXED)
    who = ledger(engine, record)
    who.lease()
    head = lease_of(who.lease())
    real, calls = who._leased, []

    def unheard(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 1:
            raise ConnectionError("gone")
        return real(*arguments)

    monkeypatch.setattr(who, "_leased", unheard)
    with pytest.raises(ConnectionError):
        who.lease_more(head, 3)
    assert numbers(who.lease_more(head, 3)) == [2, 3, 4]
    assert progress(engine, record).leased == 5


def test_where_memory_is_not_enough_the_cohort_is_halved(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = alone(engine, 6)
    record, study = register(engine, budget=6, **FIXED)
    real = Cohort.epoch

    def epoch(cohort: Cohort, *arguments: Any) -> Any:
        if len(cohort.members) > 2:
            real(cohort)  # the weights were moved already
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return real(cohort, *arguments)

    monkeypatch.setattr(Cohort, "epoch", epoch)
    worker(engine, record, study, cohort=5).run()
    for number in range(6):
        assert_same(curve(engine, record, number), expected[number])
    (told,) = read_events(engine, record.study_id, "cohort size")
    assert told.detail == {"size": 2, "why": "OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB"}


def test_what_filled_the_memory_is_let_go_before_the_smaller_cohort(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A traceback holds the locals of all its frames, and an exception that a frame names is a circle."""
    record, study = register(engine, budget=6, **FIXED)
    real, held, alive = Cohort.epoch, list[weakref.ref[Tensor]](), list[bool]()

    def epoch(cohort: Cohort, *arguments: Any) -> Any:
        if len(cohort.members) > 2:
            activations = torch.zeros(3)
            held.append(weakref.ref(activations))
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        alive.append(held[0]() is not None)
        return real(cohort, *arguments)

    monkeypatch.setattr(Cohort, "epoch", epoch)
    gc.disable()
    try:
        worker(engine, record, study, cohort=5).run()
    finally:
        gc.enable()
    assert alive
    assert not any(alive)


def test_what_a_cohort_raises_is_found_out_one_by_one(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: Any) -> Any:
        raise ValueError("not as one program")

    monkeypatch.setattr(Cohort, "epoch", broken)
    record, study = register(engine, budget=6, **FIXED)
    worker(engine, record, study, cohort=4).run()
    assert [t.state for t in read_trials(engine, record.study_id)] == ["complete"] * 6
    (told,) = read_events(engine, record.study_id, "cohort size")
    assert told.detail == {"size": 1, "why": "ValueError: not as one program"}


def test_a_member_that_diverges_is_ended_and_the_others_go_on(engine: Engine) -> None:
    expected = alone(engine, 5)
    record, study = register(engine, budget=5, **FIXED)
    who = worker(engine, record, study, cohort=4)
    real = Cohort.epoch

    def epoch(cohort: Cohort, *arguments: Any) -> Any:
        if cohort.members[1].epoch == 1 and len(cohort.members) == 4:
            with torch.no_grad():
                next(cohort.members[1].model.parameters()).fill_(float("nan"))
        return real(cohort, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Cohort, "epoch", epoch)
        who.run()
    trials = read_trials(engine, record.study_id)
    assert sorted(t.violated or "" for t in trials) == ["", "", "", "", "diverged"]
    for t in trials:
        if t.violated is None:
            assert_same(curve(engine, record, t.slot.number), expected[t.slot.number])


def test_a_member_that_another_worker_took_over_is_left_to_it(engine: Engine) -> None:
    record, study = register(engine, budget=5, **FIXED)
    who = worker(engine, record, study, cohort=4)
    real, calls = who.context.log.record, []

    def steal(reports: Any) -> Any:
        calls.append(sorted(report.lease.slot.number for report in reports))
        if len(calls) == 5:
            with engine.begin() as connection:
                thief = register_process(engine, record, pid=2)
                taken = "UPDATE caviar.slot SET token = gen_random_uuid(), worker_id = :thief WHERE number = 2"
                connection.execute(text(taken), {"thief": thief.worker_id})
        return real(reports)

    who.context.log.record = steal  # type: ignore[method-assign]
    stop = StopAfter(10_000)
    who.context.stop = stop

    def give_up(worker: Worker, seconds: float) -> None:  # what is left is the thief's
        stop._looks = 0

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Worker, "_wait", give_up)
        who.run()
    assert calls == [[0]] * 3 + [[1, 2, 3, 4]] * 2 + [[1, 3, 4]]
    assert [t.state for t in read_trials(engine, record.study_id)] == ["complete"] * 2 + ["running"] + ["complete"] * 2
    assert len(curve(engine, record, 2)) == 1


def test_a_cohort_that_is_stopped_goes_on_with_every_member(engine: Engine) -> None:
    expected = alone(engine, 9, epochs=5)
    record, study = register(engine, budget=9, **{**FIXED, "epochs": 5})
    pieces = 0
    while progress(engine, record).open:
        worker(engine, record, study, StopAfter(7), cohort=4).run()
        pieces += 1
        assert progress(engine, record).leased == 0
    assert pieces > 3
    for number in range(9):
        assert_same(curve(engine, record, number), expected[number])


@pytest.mark.parametrize("full", [False, True])
def test_every_members_state_is_kept_here_while_the_database_is_away(engine: Engine, full: bool) -> None:
    from sqlalchemy.exc import OperationalError

    expected = alone(engine, 5, epochs=4)
    record, study = register(engine, budget=5, **{**FIXED, "epochs": 4})
    who = worker(engine, record, study, cohort=4, patience=0)
    real, calls = who.context.log.record, []

    def away(reports: Any) -> Any:
        calls.append(len(reports))
        if calls.count(4) > 1:
            raise OperationalError("UPDATE", {}, Exception("gone"))
        return real(reports)

    def keep(number: int, state: Any) -> None:
        if full and number == 2:
            raise OSError("disk full")
        written(number, state)

    written = who.context.unsent.keep
    who.context.unsent.keep = keep  # type: ignore[method-assign]
    who.context.log.record = away  # type: ignore[method-assign]
    of = "trial 2 goes on from its last .*disk full.* of trials 1, 3, 4" if full else "of trials 1, 2, 3, 4"
    with pytest.raises(DatabaseAway, match=f"{of} is kept on this machine"):
        who.run()
    with engine.begin() as connection:
        connection.execute(text("UPDATE caviar.slot SET expires_at = now() - interval '1 s' WHERE state = 'leased'"))
    worker(engine, record, study, cohort=4).run()
    assert len(read_events(engine, record.study_id, "went on from this machine's own state")) == 4 - full
    for number in range(5):
        assert_same(curve(engine, record, number), expected[number])


def test_a_member_whose_checkpoint_is_out_of_reach_costs_the_others_nothing(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    import caviar.studies.workers.trial.run
    from caviar.storage.errors import CheckpointUnreachable

    def load(store: Any, number: int) -> Any:
        if number == 4:
            raise CheckpointUnreachable("no such share")
        return real(store, number)

    real = caviar.studies.workers.trial.run.load_checkpoint
    expected = alone(engine, 5, epochs=4)
    record, study = register(engine, budget=5, **{**FIXED, "epochs": 4})
    worker(engine, record, study, StopAfter(9), cohort=4).run()
    monkeypatch.setattr(caviar.studies.workers.trial.run, "load_checkpoint", load)
    with pytest.raises(CheckpointUnreachable):
        worker(engine, record, study, cohort=4, patience=0).run()
    assert progress(engine, record).leased == 0
    monkeypatch.setattr(caviar.studies.workers.trial.run, "load_checkpoint", real)
    worker(engine, record, study, cohort=4).run()
    events = read_events(engine, record.study_id, "went on from this machine's own state")
    assert [event.slot for event in events] == [1, 2, 3]
    for number in range(5):
        assert_same(curve(engine, record, number), expected[number])


def test_a_bad_curve_is_stopped_by_a_better_one_beside_it(engine: Engine) -> None:
    """In the first cohort, too, when no trial is complete yet."""
    tiers = ({"learning_rate": Log(1e-5, 1, default=0.3)},)
    record, study = register(
        engine, budget=16, **{**FIXED, "strategy": "tiered", "tiers": tiers, "pruner": "pace", "epochs": 9}
    )
    worker(engine, record, study, cohort=5).run()
    first = read_trials(engine, record.study_id)[:5]
    assert first[0].state == "complete"
    slow = [trial for trial in first if trial.parameters["learning_rate"] < 1e-3]
    assert slow
    for trial in slow:
        assert (trial.state, trial.epoch) == ("pruned", 4)
        assert trial.attributes["why it stopped"].endswith("since epoch 2 at less than half its pace")


class Drops(nn.Module):
    """A user's network that cannot be stacked: dropout draws random numbers."""

    def __init__(self, sample: tuple[int, ...], classes: int, *, hidden_units: int = 50) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(64, hidden_units), nn.ReLU(), nn.Dropout(0.1))
        self.out = nn.Linear(hidden_units, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.body(x))  # type: ignore[no-any-return]


class Plain(Drops):
    """One that can be."""

    def __init__(self, sample: tuple[int, ...], classes: int, *, hidden_units: int = 50) -> None:
        super().__init__(sample, classes, hidden_units=hidden_units)
        self.body = self.body[:-1]


def test_a_users_model_joins_in_and_one_that_cannot_is_told(engine: Engine) -> None:
    for name, cohorts in (("Plain", True), ("Drops", False)):
        tiers = ({"learning_rate": Log(1e-2, 1, default=0.1)},)
        fields = {**FIXED, "model": f"{__name__}:{name}", "tiers": tiers}
        expected = alone(engine, 5, **fields, name=f"alone{name}") if cohorts else None
        record, study = register(engine, name=name, budget=5, **fields)
        sizes: list[int] = []
        real = Cohort.epoch

        def epoch(cohort: Cohort, *arguments: Any, sizes: list[int] = sizes, real: Any = real) -> Any:
            sizes.append(len(cohort.members))
            return real(cohort, *arguments)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Cohort, "epoch", epoch)
            worker(engine, record, study, cohort=4).run()
        assert sizes == ([4] * 3 if cohorts else [])
        for number in range(5):
            if expected:
                assert_same(curve(engine, record, number), expected[number])
    record, study = register(engine, name="auto", budget=24, **fields)
    who = worker(engine, record, study, StopAfter(3), cohort=None)
    who.run()
    (told,) = read_events(engine, record.study_id, "cohort size")
    assert told.detail["size"] == 1
    assert "randomness" in told.detail["why"]


def test_the_size_is_found_by_measuring(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    import caviar.studies.workers.cohort_size

    for measured, size in (((8, 3.14), 8), ((1, 0.6), 1)):
        record, study = register(engine, name=f"m{size}", budget=80, **FIXED)
        limits: list[int] = []
        monkeypatch.setattr(
            caviar.studies.workers.cohort_size,
            "measure",
            lambda make, limit, m=measured, seen=limits: seen.append(limit) or m,
        )
        assert worker(engine, record, study, cohort=None)._trainer._size.now == size
        assert limits == [10]  # an eighth of the budget
        (told,) = read_events(engine, record.study_id, "cohort size")
        assert told.detail == {"size": size, "times_as_fast": round(measured[1], 1)}


def test_of_an_epoch_that_was_left_in_its_middle_nothing_is_kept(engine: Engine) -> None:
    """The database is away, and the grace is over in the middle of an epoch of the cohort."""
    from sqlalchemy.exc import OperationalError

    expected = alone(engine, 5)
    record, study = register(engine, budget=5, **FIXED)
    who = worker(engine, record, study, cohort=4, patience=0)
    real = Cohort.epoch

    def epoch(cohort: Cohort, *arguments: Any) -> Any:
        if len(cohort.members) == 4 and cohort.members[0].epoch == 1:
            real(cohort)  # the weights have moved
            for member in cohort.members:
                member.epoch -= 1
            raise Interrupted
        return real(cohort, *arguments)

    def away(lease: Lease) -> None:
        raise OperationalError("UPDATE", {}, Exception("gone"))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Cohort, "epoch", epoch)
        patch.setattr(who.context.ledger, "release", away)
        with pytest.raises(DatabaseAway):
            who.run()
    assert [who.context.unsent.find(number) for number in range(5)] == [None] * 5
    with engine.begin() as connection:
        connection.execute(text("UPDATE caviar.slot SET expires_at = now() - interval '1 s' WHERE state = 'leased'"))
    worker(engine, record, study, cohort=4).run()
    for number in range(5):
        assert_same(curve(engine, record, number), expected[number])


def test_where_a_cohort_has_all_in_common_that_is_free_its_trials_differ(engine: Engine) -> None:
    tiers = (
        {"batch_size": PowersOfTwo(64, 512, default=128)},
        {"layers": Grid(1, 2, 3, 4, default=2)},
        {"learning_rate": Log(1e-2, 1, default=0.1)},
    )
    record, study = register(engine, budget=16, epochs=1, tiers=tiers)
    worker(engine, record, study, cohort=5).run()
    chosen = [tuple(sorted(t.parameters.items())) for t in read_trials(engine, record.study_id)][5:10]
    assert len(set(chosen)) == len(chosen)


def test_what_a_cohort_has_in_common_is_chosen_anew_for_each_cohort(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its members end one by one, so that it never ends itself."""
    monkeypatch.setattr(
        "caviar.studies.search.pruners.PacePruner.reason_to_stop",
        lambda self, complete, trial, beside: ["", None][trial.number % 3 > 0],
    )
    record, study = register(engine, budget=40, epochs=3)
    worker(engine, record, study, cohort=4).run()
    chosen = [(t.parameters["log2_batch_size"], t.parameters["layers"]) for t in read_trials(engine, record.study_id)]
    for at in range(10, 40, 4):
        assert len(set(chosen[at : at + 4])) <= 2
    assert len(set(chosen[10:])) > 2


def test_a_size_that_cannot_be_measured_is_one(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: Any) -> Any:
        raise RuntimeError("not enough memory:\0 you tried to allocate 9 TB")

    monkeypatch.setattr("caviar.studies.workers.cohort_size.measure", broken)
    record, study = register(engine, budget=80, **FIXED)
    assert worker(engine, record, study, cohort=None)._trainer._size.now == 1
    (told,) = read_events(engine, record.study_id, "cohort size")
    assert told.detail == {"size": 1, "why": "RuntimeError: not enough memory:\\0 you tried to allocate 9 TB"}


def test_a_cohort_with_a_free_place_trains_on_while_the_database_is_away(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = alone(engine, 5, epochs=6)
    record, study = register(engine, budget=5, **{**FIXED, "epochs": 6})
    away, real, trained = Away(engine.url), Cohort.epoch, list[int]()

    def epoch(cohort: Cohort, *arguments: Any) -> Any:
        trained.append(len(cohort.members))
        if len(trained) == 2:
            away.begin()
        if len(trained) == 3:  # one ends meanwhile
            with torch.no_grad():
                next(cohort.members[1].model.parameters()).fill_(float("nan"))
        if len(trained) == 5:
            away.end()
        return real(cohort, *arguments)

    monkeypatch.setattr(Cohort, "epoch", epoch)
    monkeypatch.setattr("caviar.studies.workers.trainer._LEASE_SECONDS", 0.0)
    try:
        worker(engine, record, study, cohort=8, patience=20).run()
    finally:
        away.end()
    assert trained == [4] * 3 + [3] * 3
    trials = read_trials(engine, record.study_id)
    assert sorted(t.violated or "" for t in trials) == ["", "", "", "", "diverged"]
    for t in trials:
        if t.violated is None:
            assert_same(curve(engine, record, t.slot.number), expected[t.slot.number])


def test_on_a_slow_line_a_trial_that_ended_leaves_its_place_to_another(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Epochs arrive while the next one is trained, so that some are on their way or wait at any time."""
    record, study = register(engine, budget=5, **{**FIXED, "epochs": 8})
    who, arrive, at_work = worker(engine, record, study, cohort=4), threading.Event(), list[int]()
    trainer, outbox = who._trainer, who._trainer._outbox
    send, finish, real = outbox._send, outbox._finish_sending, Cohort.epoch

    def slow() -> None:
        if threading.current_thread() is not threading.main_thread():
            assert arrive.wait(60)
        send()

    def finish_sending() -> None:
        arrive.set()
        finish()

    def epoch(cohort: Cohort, *arguments: Any) -> Any:
        at_work.append(len(trainer._runs))
        if outbox._sending is not None:
            arrive.set()
            wait([outbox._sending])
        arrive.clear()
        if len(at_work) == 2:
            with torch.no_grad():
                next(cohort.members[1].model.parameters()).fill_(float("nan"))
        return real(cohort, *arguments)

    monkeypatch.setattr("caviar.studies.workers.outbox._MOMENT", 0.0)
    monkeypatch.setattr(outbox, "_send", slow)
    monkeypatch.setattr(outbox, "_finish_sending", finish_sending)
    monkeypatch.setattr(Cohort, "epoch", epoch)
    who.run()
    assert (at_work[0], at_work[-1]) == (4, 3)
    assert [t.violated for t in read_trials(engine, record.study_id)].count("diverged") == 1
