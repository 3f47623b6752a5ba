"""A table as a file that other programs read: CSV, JSON or Parquet. It is there as a whole, or not at all."""

from __future__ import annotations

import csv
import json
import math
from datetime import datetime
from pathlib import Path
from typing import Any

from caviar.studies.errors import ExtraMissing
from caviar.studies.results.atomic_write import beside
from caviar.studies.results.export.rows import Table

SUFFIXES = (".csv", ".parquet", ".json")


def write_table(table: Table, file: Path) -> None:
    """Write a table in the format that the file's name ends with, one of SUFFIXES; a file that is there is replaced.

    In CSV and JSON times are ISO 8601; what is not known is empty in CSV and null in JSON, which has no NaN either.

    Raises:
        ExtraMissing: Parquet needs pyarrow.
        OutputError: the file cannot be written.
    """
    write = {".csv": _csv, ".parquet": _parquet, ".json": _json}[file.suffix.lower()]
    with beside(file, "--to") as unfinished:
        write(table, unfinished)


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
            known = {name: _finite(_plain(value)) for name, value in zip(names, row, strict=True)}
            out.write((",\n " if number else "\n ") + json.dumps(known, ensure_ascii=False, allow_nan=False))
        out.write("\n]\n")


def _parquet(table: Table, file: Path) -> None:
    try:
        import pyarrow
        from pyarrow import parquet
    except ModuleNotFoundError as error:
        raise ExtraMissing(f"Parquet needs {error.name}: pip install -e '.[parquet]'") from error
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


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
