"""The seconds of a study's training, of which only what is new is read."""

from __future__ import annotations

from sqlalchemy import Engine, text

from caviar.storage.records import StudyRecord
from caviar.studies.lifecycle.manager import extend_study, progress
from caviar.studies.live.seconds import Seconds
from tests.helpers.live import add_epoch, finish, let_run, statements
from tests.helpers.workers import register


def test_they_are_those_of_all_epochs_whatever_came_and_went_between_two_looks(engine: Engine) -> None:
    record, kept = register(engine, budget=12)[0], Seconds()

    def look(record: StudyRecord = record) -> list[str]:
        """Look once more; return the statements that read every epoch of the study."""
        with statements(engine) as sent:
            found = kept.read(engine, record.study_id, progress(engine, record).done)
        with engine.connect() as connection:
            assert found == connection.scalar(text("SELECT coalesce(sum(seconds), 0) FROM caviar.epoch"))
        return [one for one in sent if "NOT IN" in one]

    assert look()
    let_run(engine, record, 0, 0.5, 0.5)
    assert not look()
    add_epoch(engine, record, 0, 0.5)
    let_run(engine, record, 1, 0.5)
    assert not look()
    finish(engine, record, 0, 0.5)  # of which it is known how long it took
    assert not look()
    for slot in (2, 3):  # of which it is not
        let_run(engine, record, slot, 0.5)
        finish(engine, record, slot, 0.5)
    finish(engine, record, 1, 0.5)
    assert look()
    assert not look()
    extend_study(engine, record, 14)
    let_run(engine, record, 12, 0.5)
    assert not look()


def test_one_that_ended_after_it_was_counted_is_not_taken_for_one_that_did_before(engine: Engine) -> None:
    record, kept = register(engine, budget=12)[0], Seconds()
    let_run(engine, record, 0, 0.5)
    assert kept.read(engine, record.study_id, 0) == 1.5
    let_run(engine, record, 1, 0.5)
    finish(engine, record, 1, 0.5)
    done = progress(engine, record).done  # which another one passes, before the seconds are read
    finish(engine, record, 0, 0.5)
    kept.read(engine, record.study_id, done)
    assert kept.read(engine, record.study_id, progress(engine, record).done) == 3.0
