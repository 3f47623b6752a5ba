"""A machine that comes back with epochs of a day which the database never got: they contradict nothing written since.

Machine A trains on while its line is cut, and leaves when its patience is over. Machine B takes the day over meanwhile.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError

import caviar.studies.panda.day_run
from caviar.epoch import Epoch
from caviar.storage.curves import read_curve
from caviar.storage.errors import DatabaseAway
from caviar.storage.events import read_events
from caviar.storage.nudges import add_nudge
from caviar.storage.pandas import DayRecord, read_life
from caviar.storage.records import StudyRecord
from caviar.storage.states import EventKind
from caviar.storage.unsent import UnsentStates
from caviar.studies.workers.local.signals import Stop
from tests.helpers.epochs import figures
from tests.helpers.pandas import born, context_of, days

CUT, LAST = 2, 6  # the last epoch that A writes, and the last of the day
Rates = list[float]


class Overdue(Stop):
    """A stop that is overdue once it is asked for."""

    overdue = False  # type: ignore[assignment]


def rates(engine: Engine, record: StudyRecord) -> Rates:
    return [epoch.metrics["learning_rate"] for epoch in read_curve(engine, record.study_id, 1)]


def away(*arguments: Any) -> Any:
    raise OperationalError("UPDATE", {}, Exception("the line is cut"))


def train_with_a_cut_line(engine: Engine, record: StudyRecord) -> Path:
    """Train the day on A, whose line is cut after epoch 2; return A's saved state."""
    stop = Overdue()
    context = context_of(engine, record, stop)

    def hear(day: DayRecord, result: Epoch) -> None:
        if result.epoch == CUT + 1:
            context.log.record = away  # type: ignore[method-assign]
        if result.epoch == LAST:
            stop.overdue = True  # type: ignore[misc]  # the patience is over

    with pytest.raises(DatabaseAway, match="of trial 1 is kept on this machine"):
        days(engine, record, context=context, on_epoch=hear)
    with engine.begin() as connection:
        connection.execute(text("UPDATE caviar.slot SET expires_at = now() - interval '1 s' WHERE state = 'leased'"))
    (path,) = (context.options.settings.home / "unsent").glob("*.state")
    return path


def train_elsewhere(engine: Engine, record: StudyRecord, monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """Train the day on B up to epoch 4."""
    stop = Stop()

    def hear(day: DayRecord, result: Epoch) -> None:
        if result.epoch == 4:
            stop.ask()

    with monkeypatch.context() as patch:
        patch.setenv("CAVIAR_HOME", str(home))
        days(engine, record, context=context_of(engine, record, stop), on_epoch=hear)


def events(engine: Engine, record: StudyRecord, kind: EventKind) -> list[Any]:
    return [event.detail for event in read_events(engine, record.study_id, kind)]


def test_epochs_that_another_machine_trained_with_a_nudge_are_not_written_again(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    record = born(engine, epochs=LAST)
    train_with_a_cut_line(engine, record)
    add_nudge(engine, record.study_id, {"learning_rate": 0.4}, None, "me")
    train_elsewhere(engine, record, monkeypatch, tmp_path / "b")
    assert rates(engine, record) == [0.5, 0.5, 0.4, 0.4]
    before = read_curve(engine, record.study_id, 1)
    days(engine, record)
    after = read_curve(engine, record.study_id, 1)
    assert after[: len(before)] == before
    assert rates(engine, record) == [0.5, 0.5, 0.4, 0.4, 0.4, 0.4]
    assert [(n.day, n.epoch) for n in read_life(engine, record).nudges] == [(1, 2)]
    (told,) = events(engine, record, EventKind.LOCAL_STATE_DROPPED)
    assert told["reason"] == "its epochs after 2 were trained without a nudge of then: learning_rate=0.4"
    assert events(engine, record, EventKind.LOCAL_STATE_USED) == []


def test_epochs_that_contradict_nothing_are_used(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    expected, record = born(engine, "expected", epochs=LAST), born(engine, epochs=LAST)
    days(engine, expected)
    train_with_a_cut_line(engine, record)
    train_elsewhere(engine, record, monkeypatch, tmp_path / "b")
    days(engine, record)
    assert events(engine, record, EventKind.LOCAL_STATE_USED) == [{"epoch": LAST}]
    assert events(engine, record, EventKind.LOCAL_STATE_DROPPED) == []
    curves = [figures(read_curve(engine, r.study_id, 1)) for r in (record, expected)]
    assert curves[0] == curves[1]


def test_a_nudge_that_the_machine_itself_took_does_not_make_its_state_unusable(engine: Engine) -> None:
    record = born(engine, epochs=LAST)
    add_nudge(engine, record.study_id, {"learning_rate": 0.4}, None, "me")
    train_with_a_cut_line(engine, record)
    days(engine, record)
    assert events(engine, record, EventKind.LOCAL_STATE_USED) == [{"epoch": LAST}]
    assert rates(engine, record) == [0.4] * LAST


@pytest.mark.parametrize("body", [b"not a state", None], ids=["damaged", "of another program"])
def test_a_state_that_cannot_be_read_leaves_an_event_and_the_databases_own_is_used(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, body: bytes | None
) -> None:
    monkeypatch.setattr("caviar.studies.workers.trial.checkpoints._CHECKPOINT_SECONDS", 0)
    record = born(engine, epochs=LAST)
    path = train_with_a_cut_line(engine, record)
    if body is not None:
        path.write_bytes(body)
    else:
        states = UnsentStates(path.parent.parent, record)
        unsent = states.find(1)
        assert unsent is not None
        states.keep(1, replace(unsent, state=b"pickled"))
    trained = []
    days(engine, record, on_epoch=lambda day, result: trained.append(result.epoch))
    assert trained == [3, 4, 5, 6]  # from the database's checkpoint, not from the day's begin
    assert len(events(engine, record, EventKind.LOCAL_STATE_DROPPED)) == 1
    assert not path.exists()


def test_a_nudge_waits_until_the_epochs_that_were_written_without_it_are_repeated(engine: Engine) -> None:
    """Its worker was killed without a checkpoint, and the nudge was given before the next one began."""
    record = born(engine, epochs=LAST)

    class Killed(BaseException):
        pass

    def hear(day: DayRecord, result: Epoch) -> None:
        if result.epoch == 4:
            raise Killed

    with pytest.raises(Killed):
        days(engine, record, on_epoch=hear)
    add_nudge(engine, record.study_id, {"learning_rate": 0.4}, None, "me")
    with engine.begin() as connection:
        connection.execute(text("UPDATE caviar.slot SET expires_at = now() - interval '1 s' WHERE state = 'leased'"))
    before = read_curve(engine, record.study_id, 1)
    days(engine, record)
    assert len(before) == 3
    assert rates(engine, record) == [0.5, 0.5, 0.5, 0.4, 0.4, 0.4]


def test_a_nudge_whose_answer_is_lost_takes_effect_when_the_journal_says(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = born(engine, epochs=LAST)
    real, lost = caviar.studies.panda.day_run.take_nudges, []

    def take(*arguments: Any) -> bool:
        taken = real(*arguments)
        if taken and not lost:
            lost.append(arguments)
            away()
        return taken

    def hear(day: DayRecord, result: Epoch) -> None:
        if result.epoch == CUT:
            add_nudge(engine, record.study_id, {"learning_rate": 0.4}, None, "me")

    monkeypatch.setattr(caviar.studies.panda.day_run, "take_nudges", take)
    days(engine, record, on_epoch=hear)
    assert len(lost) == 1
    ((day, epoch),) = [(n.day, n.epoch) for n in read_life(engine, record).nudges]
    assert (day, rates(engine, record)) == (1, [0.5] * epoch + [0.4] * (LAST - epoch))
