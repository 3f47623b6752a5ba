"""What this machine keeps while its database is away: whole or not at all, and never another study's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from caviar.epoch import Epoch
from caviar.storage.records import Provenance, StudyRecord
from caviar.storage.unsent import Unsent, UnsentStates

BORN = datetime(2026, 11, 24, tzinfo=UTC)
EPOCHS = [Epoch(3, 0.1 + 0.2, 0.5, 0.75, 0.1, 0.01), Epoch(4, float("inf"), 0.4, 0.8, 0.1, 0.01)]


def record(name: str = "mine", born: datetime = BORN) -> StudyRecord:
    return StudyRecord(1, 1, name, "run", 1, {}, Provenance(), born)


def test_what_was_kept_is_found_and_forgotten(tmp_path: Path) -> None:
    states = UnsentStates(tmp_path, record())
    assert states.find(7) is None
    states.keep(7, Unsent(4, EPOCHS, b"a\nb\0c\n"))
    states.keep(7, Unsent(4, EPOCHS, b"later\n"))
    assert UnsentStates(tmp_path, record()).find(7) == Unsent(4, EPOCHS, b"later\n")
    assert states.find(8) is None
    assert len(list(tmp_path.rglob("*.*"))) == 1
    states.forget(7)
    states.forget(7)
    assert states.find(7) is None


def test_another_study_of_the_name_has_its_own(tmp_path: Path) -> None:
    UnsentStates(tmp_path, record()).keep(7, Unsent(4, EPOCHS, b"state"))
    assert UnsentStates(tmp_path, record(born=BORN + timedelta(microseconds=1))).find(7) is None
    assert UnsentStates(tmp_path, record("other")).find(7) is None
