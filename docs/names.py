"""Write docs/reference/python.md, the list of the public names that mkdocstrings fills with their docstrings."""

from __future__ import annotations

from pathlib import Path

import caviar

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reference" / "python.md"
_HEAD = """\
# Python

<!-- Written by docs/names.py from src/caviar/__init__.pyi; `make docs` brings it up to date. -->

Everything here is imported from `caviar`. The import is quick: PyTorch, Optuna and SQLAlchemy are loaded when a name
that needs them is used.

A function that reads or changes studies takes the keyword `database`: an address, an SQLAlchemy engine, or `None` for
`CAVIAR_DATABASE_URL`, else the built-in server. It returns a frozen record, or raises an error below
[`CaviarError`](#caviar.CaviarError).
"""
_RECORDS, _ERRORS = "Records", "Errors"
# Titles by the module that a name comes from; classes of other modules, and of studies.api, are records.
_SECTIONS = {
    "studies.definition": "Define a study",
    "studies.space": "Define a study",
    "studies.api.running": "Run a study",
    "studies.api.standing": "Read studies",
    "studies.api.reading": "Read studies",
    "studies.api.documents": "Reports, exports and models",
    "studies.api.changing": "Change a study",
    "studies.api.panda": "Panda",
    "studies.api": "Database, data and machine",
    "studies.search": "Search in an Optuna program",
}


_INTEGRATIONS = """\
## Integrations

Each needs its extra, such as `pip install '.[lightning]'` in the clone, and is imported from the module in its heading.

### `caviar.integrations.lightning`

::: caviar.integrations.lightning.TrialCallback

### `caviar.integrations.transformers`

::: caviar.integrations.transformers.TrialCallback

### `caviar.integrations.accelerate`

::: caviar.integrations.accelerate.Prepared
"""


def page() -> str:
    """Return the page as Markdown."""
    sections: dict[str, list[str]] = {title: [] for title in [*_SECTIONS.values(), _RECORDS, _ERRORS]}
    for name, module in caviar._MODULES.items():
        sections[_title(module.removeprefix("caviar").removeprefix("."), name)].append(name)
    parts = [_HEAD]
    for title, names in sections.items():
        if names:
            parts += [f"## {title}\n", *(f"::: caviar.{name}\n" for name in names)]
    return "\n".join([*parts, _INTEGRATIONS])


def _title(module: str, name: str) -> str:
    if module.endswith("errors"):
        return _ERRORS
    if module.startswith("studies.api") and name[0].isupper():
        return _RECORDS
    where = f"{module}.{name}"
    return next((title for prefix, title in _SECTIONS.items() if where.startswith(prefix)), _RECORDS)
