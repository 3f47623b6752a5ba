"""Optuna's schema as we declare it against Optuna's own declaration, and our parts of its semantics."""

from __future__ import annotations

import optuna.storages._rdb.models as theirs
import pytest
from sqlalchemy import Enum, Float, Integer, String, Table, Text

from caviar.storage import optuna_tables as ours

TABLES = list(ours.metadata.tables.values())
KINDS = (Enum, Integer, Float, Text, String)


@pytest.mark.parametrize("table", TABLES, ids=lambda t: t.name)
def test_our_declaration_is_optunas(table: Table) -> None:
    original = theirs.BaseModel.metadata.tables[table.name]
    for column in table.columns:
        other = original.columns[column.name]
        kind = (
            next(k for k in KINDS if isinstance(other.type, k)) if isinstance(other.type, KINDS) else type(other.type)
        )
        assert isinstance(column.type, kind), column
        if isinstance(other.type, Enum) and isinstance(column.type, Enum):
            assert column.type.name == other.type.name
            assert set(column.type.enums) == set(other.type.enums)


def test_we_write_every_column_that_optuna_requires() -> None:
    for table in TABLES:
        required = {c.name for c in theirs.BaseModel.metadata.tables[table.name].columns
                    if not c.nullable and not c.primary_key}  # fmt: skip
        if table.name in ("study_user_attributes", "study_system_attributes", "trial_heartbeats"):
            continue  # written by statements in text, or only deleted from
        assert required <= set(table.columns.keys())


def test_every_table_that_hangs_on_a_study_or_trial_is_deleted_with_it() -> None:
    hanging = {t.name for t in theirs.BaseModel.metadata.tables.values() if t.foreign_keys}
    assert hanging == {t.name for t in (*ours.OF_A_TRIAL, *ours.OF_A_STUDY, ours.trials)}
