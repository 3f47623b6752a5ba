"""Export to a file: CSV, JSON or Parquet. It is written as a whole, or not at all."""

from __future__ import annotations

import csv
import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from caviar.studies.errors import ExtraMissing
from caviar.studies.results.atomic_write import atomic_write
from caviar.studies.results.export.targets import Export, Target
from caviar.studies.results.formatting import finite

if TYPE_CHECKING:
    from caviar.studies.results.export.rows import Table


def write_table(table: Table, file: Path) -> None:
    """Write a table in the format that the file's suffix names; a file that exists is replaced.

    In CSV and JSON times are ISO 8601; a missing value is empty in CSV and null in JSON, which has no NaN either.

    Raises:
        ExtraMissing: Parquet needs pyarrow.
        OutputError: the file cannot be written.
    """
    with atomic_write(file, "--to") as unfinished:
        _WRITERS[file.suffix.lower()](table, unfinished)


def _export(export: Export, to: str) -> str:
    from caviar.studies.results.export.rows import epoch_table, trial_table

    name, epochs = export.record.name, sum(len(t.curve) for t in export.trials)
    write_table((epoch_table if export.epochs else trial_table)(export.study, export.trials), Path(to))
    if export.epochs:
        return f"{epochs} epochs are in {to}; see them with: caviar report {name} --open"
    more = f"caviar export {name} --to epochs.csv --epochs"
    return f"{len(export.trials)} trials are in {to}; every epoch of them with: {more}"


def _csv(table: Table, file: Path) -> None:
    with file.open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow([name for name, _ in table.columns])
        writer.writerows([_plain(value) for value in row] for row in table.rows)


def _json(table: Table, file: Path) -> None:
    names = [name for name, _ in table.columns]
    with file.open("w", encoding="utf-8") as out:
        out.write("[")
        for number, row in enumerate(table.rows):
            values = {name: _plain(value) for name, value in zip(names, row, strict=True)}
            values = {name: finite(v) if isinstance(v, float) else v for name, v in values.items()}
            out.write((",\n " if number else "\n ") + json.dumps(values, ensure_ascii=False, allow_nan=False))
        out.write("\n]\n")


def _parquet(table: Table, file: Path) -> None:
    try:
        import pyarrow
        from pyarrow import parquet
    except ModuleNotFoundError as error:
        raise ExtraMissing("Parquet", error, "parquet") from error
    kinds = {int: pyarrow.int64(), float: pyarrow.float64(), bool: pyarrow.bool_(), str: pyarrow.string(),
             datetime: pyarrow.timestamp("us", tz="UTC")}  # fmt: skip
    by_column = list(zip(*table.rows, strict=True)) or [()] * len(table.columns)
    arrays = [
        pyarrow.array([value if value is None else kind(value) if kind is not datetime else value for value in values],
                      kinds[kind])
        for values, (_, kind) in zip(by_column, table.columns, strict=True)
    ]  # fmt: skip
    parquet.write_table(pyarrow.table(arrays, names=[name for name, _ in table.columns]), file)


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


_WRITERS = {".csv": _csv, ".parquet": _parquet, ".json": _json}
TARGETS = [Target(suffix, _export) for suffix in _WRITERS]
