"""The states, phases and kinds of events in storage/states.py are those in SQL, in the tables and in the code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

import pytest
from sqlalchemy import CheckConstraint

from caviar.storage.states import Control, EventKind, NudgeState, Phase, SlotState, TrialState
from caviar.storage.tables import metadata

STORAGE = Path(__file__).parents[2] / "storage"
OPTUNAS = {state.name for state in TrialState}
VALUES = {
    "control": set(Control),
    "phase": set(Phase),
    "kind": set(EventKind),
    "state": set(SlotState) | set(NudgeState) | OPTUNAS,
}
_LITERAL = re.compile(r"\b(control|phase|kind|state)\b *(?:=|<>|IN|NOT IN|WHEN|THEN) *(\((?:'[^']*',? *)+\)|'[^']*')")


def literals() -> Iterator[tuple[str, str, str]]:
    """Yield file, column and value of each comparison or assignment in storage's SQL."""
    for path in sorted(STORAGE.glob("*.py")):
        for column, values in _LITERAL.findall(path.read_text()):
            for value in re.findall(r"'([^']*)'", values):
                yield path.name, column, value


def test_every_literal_in_sql_is_a_member_of_an_enum() -> None:
    found = list(literals())
    assert len(found) > 40  # the pattern sees them
    assert [f for f in found if f[2] not in VALUES[f[1]]] == []


@pytest.mark.parametrize(
    ("table", "column", "members"),
    [("study", "control", Control), ("slot", "state", SlotState), ("nudge", "state", NudgeState)],
)
def test_the_tables_allow_exactly_the_members(table: str, column: str, members: type[StrEnum]) -> None:
    texts = [str(c.sqltext) for c in metadata.tables[f"caviar.{table}"].constraints if isinstance(c, CheckConstraint)]
    (allowed,) = [t for t in texts if t.startswith(f"{column} IN")]
    assert re.findall(r"'([^']*)'", allowed) == list(members)
