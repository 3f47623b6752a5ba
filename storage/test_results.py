"""Test results: the one measurement of a trial's model on the test set."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from sqlalchemy import Engine, select, text, update
from sqlalchemy.dialects.postgresql import insert

from caviar.epoch import from_document, to_document
from caviar.storage.tables import study, test_result

# The trial that was tested after the last trial of the study had ended: its winner, until more trials are trained.
_TESTED = text("""
    SELECT r.slot FROM caviar.test_result r
    WHERE r.study_id = :study
      AND NOT EXISTS (SELECT FROM caviar.slot s WHERE s.study_id = :study AND s.state IN ('open', 'leased'))
      AND r.measured_at AT TIME ZONE 'UTC' >= (
        SELECT max(t.datetime_complete) FROM caviar.slot s JOIN public.trials t ON t.trial_id = s.trial_id
        WHERE s.study_id = :study)
    ORDER BY r.measured_at, r.slot LIMIT 1
""")

# A claim lasts for so many seconds unless it is renewed; one that lasts longer is none, whoever has written it.
_CLAIM = text("""
    UPDATE caviar.study SET tester = :who, tester_until = now() + make_interval(secs => :seconds)
    WHERE study_id = :study
      AND (tester = :who OR coalesce(tester_until NOT BETWEEN now() AND now() + make_interval(secs => :seconds), true))
    RETURNING study_id
""")
_CLAIM_SECONDS = 60.0


def claim_test(engine: Engine, study_id: int, who: UUID) -> bool:
    """Let one process of all measure the winner, and renew that; return False if another one does."""
    with engine.begin() as connection:
        claim = {"study": study_id, "who": who, "seconds": _CLAIM_SECONDS}
        return connection.scalar(_CLAIM, claim) is not None


def release_test(engine: Engine, study_id: int, who: UUID) -> None:
    """Let another process measure the winner."""
    with engine.begin() as connection:
        ours = (study.c.study_id == study_id, study.c.tester == who)
        connection.execute(update(study).where(*ours).values(tester=None, tester_until=None))


def read_tests(engine: Engine, study_id: int) -> dict[int, dict[str, float]]:
    """Return the metrics on the test set of each trial that was measured, by slot number."""
    query = select(test_result.c.slot, test_result.c.metrics).where(test_result.c.study_id == study_id)
    with engine.connect() as connection:
        return {row.slot: from_document(row.metrics) for row in connection.execute(query)}


def read_test(engine: Engine, study_id: int, slot_number: int) -> dict[str, float] | None:
    """Return the metrics of a trial's model on the test set, or None if it was never measured."""
    return read_tests(engine, study_id).get(slot_number)


def tested_slot(engine: Engine, study_id: int) -> int | None:
    """Return the trial that was measured on the test set after the study's last trial had ended, or None."""
    with engine.connect() as connection:
        return connection.scalar(_TESTED, {"study": study_id})  # type: ignore[no-any-return]


def write_test(engine: Engine, study_id: int, slot_number: int, metrics: Mapping[str, float]) -> None:
    """Store the measurement of a trial's model on the test set. The first one of a study that is done counts."""
    result = insert(test_result).values(study_id=study_id, slot=slot_number, metrics=to_document(metrics))
    with engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('caviar.test'), :study)"), {"study": study_id})
        if connection.scalar(_TESTED, {"study": study_id}) is None:
            connection.execute(result.on_conflict_do_nothing())
