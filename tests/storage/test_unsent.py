"""What this machine keeps while its database is away: whole or not at all, and never another study's."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from caviar.storage.errors import DamagedCheckpoint
from caviar.storage.records import Provenance, StudyRecord
from caviar.storage.unsent import Unsent, UnsentStates
from tests.helpers.epochs import measured

BORN = datetime(2026, 11, 24, tzinfo=UTC)
EPOCHS = [measured(3, 0.1 + 0.2, 0.5, 0.75, 0.1, 0.01), measured(4, float("inf"), 0.4, 0.8, 0.1, 0.01)]


def record(name: str = "mine", born: datetime = BORN) -> StudyRecord:
    return StudyRecord(1, 1, name, "run", 1, {}, Provenance(), born)


def test_what_was_kept_is_found_and_forgotten(tmp_path: Path) -> None:
    states = UnsentStates(tmp_path, record())
    assert states.find(7) is None
    states.keep(7, Unsent(4, EPOCHS, b"a\nb\0c\n"))
    states.keep(7, Unsent(4, EPOCHS, b"later\n", (5, 6)))
    assert UnsentStates(tmp_path, record()).find(7) == Unsent(4, EPOCHS, b"later\n", (5, 6))
    assert states.find(8) is None
    assert len(list(tmp_path.rglob("*.*"))) == 1
    states.forget(7)
    states.forget(7)
    assert states.find(7) is None


def test_another_study_of_the_name_has_its_own(tmp_path: Path) -> None:
    UnsentStates(tmp_path, record()).keep(7, Unsent(4, EPOCHS, b"state"))
    assert UnsentStates(tmp_path, record(born=BORN + timedelta(microseconds=1))).find(7) is None
    assert UnsentStates(tmp_path, record("other")).find(7) is None


def test_a_damaged_one_is_told_from_none(tmp_path: Path) -> None:
    states = UnsentStates(tmp_path, record())
    states.keep(7, Unsent(4, EPOCHS, b"state"))
    (path,) = tmp_path.rglob("*.state")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DamagedCheckpoint, match="does not match its digest"):
        states.find(7)


@pytest.mark.parametrize("as_header", [lambda epochs: epochs, lambda epochs: {"epochs": epochs, "nudges": []}])
def test_one_of_an_earlier_version_is_read(tmp_path: Path, as_header: Callable[[Any], Any]) -> None:
    """Version 0.1 wrote a list of epochs; until metrics had names of any kind, they stood beside an epoch's number."""
    before = [{"epoch": e.epoch, **e.metrics, "seconds": e.seconds} for e in EPOCHS]
    states = UnsentStates(tmp_path, record())
    _write(states, tmp_path, json.dumps(as_header(before)))
    assert states.find(7) == Unsent(4, EPOCHS, b"state")


@pytest.mark.parametrize(
    "header", ["{}", "7", "no JSON", '{"epochs": [7], "nudges": []}', '{"epochs": [{"epoch": 1}]}']
)
def test_one_that_this_version_cannot_read_says_so(tmp_path: Path, header: str) -> None:
    states = UnsentStates(tmp_path, record())
    _write(states, tmp_path, header)
    with pytest.raises(DamagedCheckpoint, match="of another version of Caviar"):
        states.find(7)


def _write(states: UnsentStates, home: Path, header: str) -> None:
    states.keep(7, Unsent(4, EPOCHS, b"state"))
    (path,) = home.rglob("*.state")
    body = f"4\n{header}\nstate".encode()
    path.write_bytes(f"{hashlib.sha256(body).hexdigest()}\n".encode() + body)
