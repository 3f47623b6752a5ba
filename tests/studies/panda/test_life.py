"""The life of one model: its days, nudges and branches, on a real PostgreSQL."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from io import StringIO
from typing import Any

import optuna
import pytest
import torch
from rich.console import Console
from sqlalchemy import Engine, text

import caviar.storage.checkpoints
import caviar.studies.workers.trial.checkpoints
from caviar.epoch import Epoch
from caviar.models.training import Training
from caviar.storage.control import set_control
from caviar.storage.curves import read_curve
from caviar.storage.definitions import load_study
from caviar.storage.errors import CheckpointUnreachable, PandaBusy, UnknownDay
from caviar.storage.events import read_events
from caviar.storage.losses import LIMIT
from caviar.storage.nudges import add_nudge, take_nudges
from caviar.storage.pandas import DayRecord, go_back, open_days, read_life
from caviar.storage.records import Lease, Provenance, Slot, StudyRecord
from caviar.studies.cli.panda.log import journal_view
from caviar.studies.errors import DefinitionError, NotComparable, OptionError, WorkersFailed
from caviar.studies.lifecycle.manager import definition_of, open_study
from caviar.studies.panda.advice import Advice
from caviar.studies.panda.birth import begin, find_ancestor
from caviar.studies.panda.candidates import best_first
from caviar.studies.panda.journal import read_journal
from caviar.studies.panda.length import DayLength
from caviar.studies.panda.planning import candidate_days, check_settings, next_day
from caviar.studies.panda.train import train
from caviar.studies.workers.local.signals import Stop
from tests.helpers.epochs import figures
from tests.helpers.leases import expire, lease_of
from tests.helpers.pandas import SETTINGS, STUDY, born, context_of, days
from tests.helpers.studies import small_study
from tests.helpers.workers import register, register_process, worker

Curve = list[tuple[float, ...]]
SET_METRIC = "UPDATE caviar.epoch SET metrics[:name] = to_jsonb(CAST(:value AS float8)) WHERE epoch = :epoch"


def advised(engine: Engine, record: StudyRecord) -> Advice:
    advice = read_journal(engine, record).advice
    assert advice is not None
    return advice


def curve(engine: Engine, record: StudyRecord, *numbers: int) -> Curve:
    return [figure for number in numbers for figure in figures(read_curve(engine, record.study_id, number))]


def test_days_at_once_are_days_one_by_one_in_new_contexts(engine: Engine) -> None:
    one, other = born(engine, "one"), born(engine, "other", epochs=6)
    days(engine, one, 3)
    days(engine, other)
    assert curve(engine, one, 1, 2, 3) == curve(engine, other, 1)
    assert [e[0] for e in curve(engine, one, 0, 1, 2, 3)] == [0, 1, 2, 3, 4, 5, 6]


def test_optuna_shows_the_life_of_the_model(engine: Engine) -> None:
    record = born(engine)
    add_nudge(engine, record.study_id, {"learning_rate": 0.1, "dropout": 0.2}, "to see", "me")
    days(engine, record, 2)
    study = optuna.load_study(study_name="baby", storage=engine.url.render_as_string(hide_password=False))
    assert [t.number for t in study.trials] == [0, 1, 2]
    assert [list(t.intermediate_values) for t in study.trials] == [[0], [1, 2], [3, 4]]
    assert [t.user_attrs["parent"] for t in study.trials] == [None, 0, 1]
    first = study.trials[1]
    assert first.params["learning_rate"] == 0.1
    assert first.user_attrs["why"] == "to see"
    assert first.user_attrs["dropout"] == 0.2
    assert study.best_value == max(t.value or 0.0 for t in study.trials)


def test_back_and_on_with_the_same_settings_is_the_same_day(engine: Engine) -> None:
    record = born(engine)
    days(engine, record, 3)
    go_back(engine, record, 2, "me")
    days(engine, record)
    assert curve(engine, record, 4) == curve(engine, record, 3)
    life = read_life(engine, record)
    assert [d.parent for d in life.days] == [None, 0, 1, 2, 2]
    assert life.panda.head == 4


def test_a_nudge_takes_effect_after_the_epoch_and_two_at_once_in_their_order(engine: Engine) -> None:
    record = born(engine, epochs=5)

    def hear(day: DayRecord, result: Epoch) -> None:
        if result.epoch == 2:
            add_nudge(engine, record.study_id, {"learning_rate": 0.3}, "first", "me")
            add_nudge(engine, record.study_id, {"learning_rate": 0.2, "momentum": 0.95}, "second", "you")

    days(engine, record, on_epoch=hear)
    assert [e[4] for e in curve(engine, record, 1)] == [0.5, 0.5, 0.2, 0.2, 0.2]
    (_, day) = read_journal(engine, record).days
    assert [(n.epoch, n.why, n.by) for n in day.nudges] == [(2, "first", "me"), (2, "second", "you")]
    assert day.ended_with["momentum"] == 0.95
    assert day.settings["momentum"] == 0.9
    days(engine, record)
    assert read_life(engine, record).days[2].settings["momentum"] == 0.95  # the next one begins with it


def test_a_nudged_rate_holds_from_then_on_and_decays_from_there(engine: Engine) -> None:
    record = born(engine, decay=1.0)
    days(engine, record)
    add_nudge(engine, record.study_id, {"learning_rate": 0.4}, None, "me")
    days(engine, record)
    assert [e[4] for e in curve(engine, record, 1, 2)] == [0.5, 0.25, 0.4, 0.2]


def test_a_nudge_that_needs_no_other_weights_moves_none(engine: Engine) -> None:
    """Dropout renames the layers behind it, and the optimizer's averages go with them."""
    plain, nudged = born(engine, "plain"), born(engine, "nudged")
    days(engine, plain)
    days(engine, nudged)
    add_nudge(engine, nudged.study_id, {"dropout": 0.001, "batch_size": 256}, None, "me")
    days(engine, plain)
    days(engine, nudged)
    losses = [[e[1] for e in curve(engine, record, 2)] for record in (plain, nudged)]
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.05)


@pytest.mark.parametrize("between", [0.0, 10.0])
def test_a_killed_day_is_trained_on_as_if_nothing_had_happened(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, between: float
) -> None:
    """From its own checkpoint, and from the day before."""
    monkeypatch.setattr(caviar.studies.workers.trial.checkpoints, "_CHECKPOINT_SECONDS", between)
    expected, record = born(engine, "expected", epochs=5), born(engine, epochs=5)
    days(engine, expected, on_epoch=partial(_nudge_at, engine, expected, 2))

    def hear(day: DayRecord, result: Epoch) -> None:
        _nudge_at(engine, record, 2, day, result)
        if result.epoch == 4:
            raise _Killed

    with pytest.raises(_Killed):
        days(engine, record, on_epoch=hear)
    with engine.begin() as connection:
        connection.execute(text("UPDATE caviar.slot SET expires_at = now() - interval '1 s' WHERE state = 'leased'"))
    days(engine, record)
    assert curve(engine, record, 1) == curve(engine, expected, 1)
    assert [e[4] for e in curve(engine, record, 1)] == [0.5, 0.5, 0.05, 0.05, 0.05]


class _Killed(BaseException):
    pass


def _nudge_at(engine: Engine, record: StudyRecord, epoch: int, day: DayRecord, result: Epoch) -> None:
    if result.epoch == epoch:
        add_nudge(engine, record.study_id, {"learning_rate": 0.05}, None, "me")


def stopped_after_an_epoch(engine: Engine, record: StudyRecord) -> None:
    stop = Stop()
    days(engine, record, context=context_of(engine, record, stop), on_epoch=lambda day, result: stop.ask())


def test_a_day_that_is_left_goes_on_first(engine: Engine) -> None:
    whole, record = born(engine, "whole", epochs=3), born(engine, epochs=3)
    days(engine, whole)
    stopped_after_an_epoch(engine, record)
    assert read_life(engine, record).days[1].state == "open"
    plan = partial(candidate_days, study=definition_of(record), candidates=[{}], epochs=1)
    with pytest.raises(UnknownDay, match="day 1 of 'baby' is not finished; first: caviar panda train baby"):
        train(context_of(engine, record), plan, finish_first=False)
    days(engine, record)
    assert curve(engine, record, 1) == curve(engine, whole, 1)
    assert len(read_life(engine, record).days) == 2


def test_a_day_whose_own_checkpoint_cannot_be_read_begins_with_the_day_before(engine: Engine) -> None:
    whole, record = born(engine, "whole", epochs=3), born(engine, epochs=3)
    days(engine, whole)
    stopped_after_an_epoch(engine, record)
    with engine.begin() as connection:
        connection.execute(text("UPDATE caviar.checkpoint SET state = 'x', digest = encode(sha256('x'), 'hex') "
                                f"WHERE study_id = {record.study_id} AND slot = 1"))  # fmt: skip
    days(engine, record)
    assert curve(engine, record, 1) == curve(engine, whole, 1)
    assert "checkpoint refused" in [event.kind for event in read_events(engine, record.study_id)]


def test_a_nudge_of_a_day_that_was_left_takes_effect_with_its_next_epoch(engine: Engine) -> None:
    record = born(engine, epochs=3)
    stopped_after_an_epoch(engine, record)
    add_nudge(engine, record.study_id, {"learning_rate": 0.1}, None, "me")
    days(engine, record)
    assert [e[4] for e in curve(engine, record, 1)] == [0.5, 0.1, 0.1]


def test_a_nudge_of_a_day_that_waits_for_its_first_epoch_is_in_the_journal(engine: Engine) -> None:
    record = born(engine)
    open_days(engine, record, partial(next_day, study=definition_of(record)))
    add_nudge(engine, record.study_id, {"learning_rate": 0.1}, "at last", "me")
    days(engine, record)
    assert [e[4] for e in curve(engine, record, 1)] == [0.1, 0.1]
    told = Console(width=200, file=StringIO())
    told.print(journal_view(read_journal(engine, record)))
    assert "after epoch 0: learning_rate 0.1  (at last)" in told.file.getvalue()  # type: ignore[attr-defined]


def test_what_the_optimizer_knows_is_kept(engine: Engine) -> None:
    """A nudge that changes nothing changes nothing, although the training is made anew."""
    plain, nudged = born(engine, "plain", epochs=4), born(engine, "nudged", epochs=4)
    days(engine, plain)

    def hear(day: DayRecord, result: Epoch) -> None:
        if result.epoch == 2:
            add_nudge(engine, nudged.study_id, {"weight_decay": 0.0}, None, "me")

    days(engine, nudged, on_epoch=hear)
    assert curve(engine, nudged, 1) == curve(engine, plain, 1)
    assert read_life(engine, nudged).nudges[0].state == "taken"


def test_the_time_of_a_day_goes_on_where_it_was(engine: Engine) -> None:
    record = born(engine, epochs=None, seconds=3600.0)
    stopped_after_an_epoch(engine, record)
    with engine.begin() as connection:
        connection.execute(text("UPDATE caviar.epoch SET seconds = 3599.9999 WHERE epoch = 1"))
    days(engine, record)
    assert [e[0] for e in curve(engine, record, 1)] == [1, 2]


def test_somebody_lets_it_rest(engine: Engine) -> None:
    record = born(engine, epochs=4)

    def hear(day: DayRecord, result: Epoch) -> None:
        if result.epoch == 2:
            set_control(engine, record.study_id, "stop")

    (day,) = train(context_of(engine, record), partial(next_day, study=definition_of(record)), hear)
    assert (day.state, day.epoch) == ("open", 2)
    assert load_study(engine, "baby").control == "stop"
    days(engine, record)
    assert [e[0] for e in curve(engine, record, 1)] == [1, 2, 3, 4]


def test_whoever_is_refused_does_not_undo_a_stop(engine: Engine) -> None:
    record = born(engine)

    def hear(day: DayRecord, result: Epoch) -> None:
        set_control(engine, record.study_id, "stop")
        with pytest.raises(PandaBusy):
            open_days(engine, record, partial(next_day, study=definition_of(record)))
        assert load_study(engine, "baby").control == "stop"

    train(context_of(engine, record), partial(next_day, study=definition_of(record)), hear)


def test_a_day_that_raises_is_told_of_and_can_be_left(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    record = born(engine)
    days(engine, record)

    def broken(self: Training, *others: Any) -> Any:
        raise ValueError("a mistake [/] of mine")

    with monkeypatch.context() as patched:
        patched.setattr(Training, "epochs", broken)
        with pytest.raises(
            WorkersFailed, match=r"day 2 of 'baby' failed: ValueError: a mistake \[/\] of mine \(.*test_"
        ):
            days(engine, record)
    assert read_journal(engine, record).days[2].verdict.word == "failed"
    assert advised(engine, record).back == 1
    with pytest.raises(UnknownDay, match="day 2 of 'baby' has no state"):
        days(engine, record)
    go_back(engine, record, 1, "me")
    days(engine, record)


def test_a_day_whose_state_cannot_be_kept_has_not_ended(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    record = born(engine)
    with monkeypatch.context() as patched:
        patched.setattr(caviar.storage.checkpoints, "CHECKPOINT", 10)
        with pytest.raises(CheckpointUnreachable, match=r"CAVIAR_CHECKPOINTS=.*is kept on this machine"):
            days(engine, record)
    assert read_life(engine, record).days[1].state == "open"
    days(engine, record)
    assert read_life(engine, record).days[1].saved
    assert [e[0] for e in curve(engine, record, 1)] == [1, 2]


def test_a_day_that_ran_out_of_memory_is_none_that_diverged(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    record = born(engine)
    days(engine, record)

    def full(self: Training, *others: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with monkeypatch.context() as patched:
        patched.setattr(Training, "epochs", full)
        days(engine, record)
    journal = read_journal(engine, record)
    assert journal.days[2].verdict.word == "out of memory"
    assert advised(engine, record).back == 1


def test_no_nudge_is_lost_without_a_word(engine: Engine) -> None:
    record = born(engine)
    days(engine, record)
    add_nudge(engine, record.study_id, {"learning_rate": 0.2}, "before the looks", "me")
    plan = partial(candidate_days, study=definition_of(record), candidates=[{}, {"momentum": 0.95}], epochs=1)

    def hear(day: DayRecord, result: Epoch) -> None:
        if day.number == 2:
            add_nudge(engine, record.study_id, {"dropout": 0.1}, "meanwhile", "me")

    train(context_of(engine, record, cohort=2), plan, hear, finish_first=False)
    assert [d.settings["learning_rate"] for d in read_life(engine, record).days[2:]] == [0.2, 0.2]
    assert go_back(engine, record, 3, "me", pick=True) == []
    journal = read_journal(engine, record)
    assert [n.why for n in journal.waiting] == ["meanwhile"]
    days(engine, record)
    assert read_life(engine, record).days[4].settings["dropout"] == 0.1
    assert read_life(engine, record).days[4].settings["momentum"] == 0.95
    add_nudge(engine, record.study_id, {"learning_rate": 0.3}, "never", "me")
    (dropped,) = go_back(engine, record, 1, "me")
    assert dropped.why == "never"
    assert [n.why for n in read_journal(engine, record).dropped] == ["never"]


def test_there_is_no_advice_in_the_middle_of_a_day(engine: Engine) -> None:
    record = born(engine, epochs=3)
    seen = []
    days(engine, record, on_epoch=lambda day, result: seen.append(read_journal(engine, record).advice))
    stopped_after_an_epoch(engine, record)
    seen.append(read_journal(engine, record).advice)
    assert seen == [None] * 4


@pytest.mark.parametrize(("loss", "back"), [(2.0, 0), (0.5, 1)])
def test_what_too_high_a_rate_left_is_not_gone_back_to(engine: Engine, loss: float, back: int) -> None:
    record = born(engine, epochs=1)
    days(engine, record, 2)
    with engine.begin() as connection:
        for epoch, value in ((0, 2.3), (1, loss), (2, 2.2)):
            connection.execute(text(SET_METRIC), {"name": "training_loss", "value": value, "epoch": epoch})
        connection.execute(text(SET_METRIC), {"name": "accuracy", "value": 0.01, "epoch": 2})
    advice = advised(engine, record)
    assert "too high" in advice.why
    assert advice.back == back


def test_a_day_is_read_by_what_came_after_its_last_nudge(engine: Engine) -> None:
    record = born(engine, epochs=4)
    days(engine, record)
    add_nudge(engine, record.study_id, {"learning_rate": 1.0, "momentum": 0.9}, None, "me")

    def hear(day: DayRecord, result: Epoch) -> None:
        _nudge_at(engine, record, 6, day, result)

    days(engine, record, on_epoch=hear)
    with engine.begin() as connection:  # it rose before the nudge, and fell after it
        for epoch, loss in ((4, 0.3), (5, 1.5), (6, 1.2), (7, 0.9), (8, 0.5)):
            connection.execute(text(SET_METRIC), {"name": "training_loss", "value": loss, "epoch": epoch})
    assert "too high" not in advised(engine, record).why


def test_one_at_a_time_trains_a_panda(engine: Engine) -> None:
    record = born(engine)
    refused = []

    def hear(day: DayRecord, result: Epoch) -> None:
        with pytest.raises(PandaBusy, match=r"one model, and test:1 \(cpu\) trains it: day 1, epoch") as caught:
            open_days(engine, record, partial(next_day, study=definition_of(record)))
        with pytest.raises(PandaBusy):
            go_back(engine, record, 0, "me")
        refused.append(caught.value)

    days(engine, record, on_epoch=hear)
    assert len(refused) == 2


def test_a_day_may_be_a_time(engine: Engine) -> None:
    record = born(engine, epochs=None, seconds=0.001)
    days(engine, record, 2)
    assert [e[0] for e in curve(engine, record, 1, 2)] == [1, 2]


def test_nothing_builds_on_a_day_that_diverged(engine: Engine) -> None:
    record = born(engine)
    days(engine, record)
    with engine.begin() as connection:  # no range of these studies has a rate that is bad enough
        connection.execute(text("UPDATE caviar.day SET settings = replace(settings::text, '0.5', '1e30')::json"))
    add_nudge(engine, record.study_id, {"learning_rate": 1e30}, None, "me")
    days(engine, record)
    journal = read_journal(engine, record)
    assert journal.days[2].verdict.word == "diverged"
    assert advised(engine, record).back == 1
    with pytest.raises(UnknownDay, match=r"day 2 of 'baby' diverged.*caviar panda back baby --to 1"):
        days(engine, record)
    go_back(engine, record, 1, "me")


def test_a_day_that_was_left_is_abandoned_by_going_back(engine: Engine) -> None:
    record = born(engine, epochs=3)
    days(engine, record)
    stopped_after_an_epoch(engine, record)
    go_back(engine, record, 0, "me")
    days(engine, record)
    life = read_life(engine, record)
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM caviar.checkpoint WHERE slot = 2")) == 0
    assert [d.state for d in life.days] == ["done", "done", "abandoned", "done"]
    assert curve(engine, record, 3) == curve(engine, record, 1)


def test_a_day_whose_process_was_killed_five_times_begins_again(engine: Engine) -> None:
    record = born(engine)
    open_days(engine, record, partial(next_day, study=definition_of(record)))
    for _ in range(LIMIT):
        expire(engine, lease_of(context_of(engine, record).ledger.lease()))
    days(engine, record)
    assert [day.state for day in read_life(engine, record).days] == ["done", "done"]


def test_states_of_the_branch_and_the_best_of_others_are_kept(engine: Engine) -> None:
    record, all_kept = born(engine), born(engine, "all", keep_all=True)
    for one in (record, all_kept):
        days(engine, one, 3)
        go_back(engine, one, 1, "me")
        days(engine, one)
    saved = [d.number for d in read_life(engine, record).days if d.saved]
    best = max((2, 3), key=lambda n: read_life(engine, record).days[n].value or 0)
    assert saved == sorted([0, 1, best, 4])
    assert [d.number for d in read_life(engine, all_kept).days if d.saved] == [0, 1, 2, 3, 4]
    lost = 5 - best
    with pytest.raises(
        UnknownDay,
        match=f"no state is kept of day {lost} of 'baby', so that one cannot go back to it; days with a state: 0",
    ):
        go_back(engine, record, lost, "me")


def test_candidates_begin_at_the_same_state_and_the_best_can_be_picked(engine: Engine) -> None:
    record = born(engine)
    days(engine, record)
    candidates: list[dict[str, Any]] = [{}, {"learning_rate": 0.1}, {"learning_rate": 1.0}, {"momentum": 0.95}]
    plan = partial(candidate_days, study=definition_of(record), candidates=candidates, epochs=2)
    numbers = [day.number for day in train(context_of(engine, record, cohort=4), plan, finish_first=False)]
    assert numbers == [2, 3, 4, 5]
    life = read_life(engine, record)
    assert life.panda.head == 1
    assert [d.settings["learning_rate"] for d in life.days[2:]] == [0.5, 0.1, 1, 0.5]
    best = best_first(read_journal(engine, record), numbers)[0].day
    alone = born(engine, "alone")
    days(engine, alone, 2)
    theirs, own = curve(engine, record, 2), curve(engine, alone, 2)
    assert [e[1] for e in theirs] == pytest.approx([e[1] for e in own], rel=1e-3)  # as a cohort, but for rounding
    go_back(engine, record, best, "me")
    days(engine, record)
    assert read_life(engine, record).days[6].parent == best
    assert read_life(engine, record).days[6].settings == life.days[best].settings


def test_from_a_trial_it_goes_on_as_the_trial_would_have(engine: Engine) -> None:
    fields = {"name": "short", "strategy": "random", "pruner": "none", "budget": 3, "epochs": 2}
    short, study = register(engine, **fields)
    worker(engine, short, study).run()
    long, study = register(engine, **{**fields, "name": "long", "epochs": 4})
    worker(engine, long, study).run()
    ancestor = find_ancestor(engine, "short:best")
    two = DayLength(2, None)
    record = begin(engine, ancestor.study, "baby", {}, Provenance(), two, ancestor=ancestor)
    train(context_of(engine, record))
    days(engine, record)
    assert curve(engine, record, 1) == curve(engine, long, ancestor.origin.trial)[2:]
    given = {"learning_rate": 0.5, "decay": 1.0}
    other = begin(engine, ancestor.study, "other", given, Provenance(), two, ancestor=ancestor)
    train(context_of(engine, other))
    days(engine, other)
    assert [e[4] for e in curve(engine, other, 1)] == [0.5, 0.25]  # it holds from where it is given
    with pytest.raises(OptionError, match="'baby' is a panda; go back in it: caviar panda back baby --to 1"):
        find_ancestor(engine, "baby:1")
    with pytest.raises(OptionError, match="--from short: give STUDY:TRIAL"):
        find_ancestor(engine, "short")


def test_what_cannot_be_is_one_clear_line(engine: Engine) -> None:
    born(engine)
    with pytest.raises(OptionError, match=r"the name 'baby' is taken .*caviar panda train baby; or give another NAME"):
        born(engine)
    with pytest.raises(NotComparable, match=r"is a panda, one model.*caviar panda train baby"):
        open_study(engine, small_study(name="baby"))
    other, _ = register(engine, name="other")
    with pytest.raises(UnknownDay, match=r"'other' is a study of many models, not a panda"):
        read_life(engine, other)
    with pytest.raises(OptionError, match=r"learning_rate 5 is out of its range in this study: 0.0001 … 1, log"):
        check_settings(STUDY, {**SETTINGS, "learning_rate": 5})
    with pytest.raises(DefinitionError, match="'beta1' has no effect with the optimizer 'sgd'"):
        check_settings(STUDY, {**SETTINGS, "beta1": 0.5}, ["beta1"])


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def test_a_worker_that_lost_its_day_takes_no_nudge(engine: Engine) -> None:
    record = born(engine)
    add_nudge(engine, record.study_id, {"learning_rate": 0.1}, None, "me")
    lease = Lease(record.study_id, Slot(0, 1, "day", ()), register_process(engine, record).worker_id, 1, None, 0)
    assert not take_nudges(engine, replace(lease), 1, ())
    assert read_life(engine, record).nudges[0].state == "waiting"


def test_a_day_that_another_program_ended_is_named_with_the_step_back(engine: Engine) -> None:
    record = born(engine)
    study = optuna.load_study(study_name="baby", storage=engine.url.render_as_string(hide_password=False))

    def end(day: DayRecord, epoch: Epoch) -> None:
        if epoch.epoch == 1:
            study.tell(day.number, 0.5)

    said = r"day 1 of 'baby' was ended by another Optuna program; go on with: caviar panda back baby --to 0"
    with pytest.raises(WorkersFailed, match=said):
        days(engine, record, on_epoch=end)
    go_back(engine, record, 0, "me")
    days(engine, record)
    assert read_life(engine, record).days[2].parent == 0
