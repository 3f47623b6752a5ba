"""`caviar ls`: list the studies."""

from __future__ import annotations

import caviar
from caviar.studies.cli.options import AsJson, Database
from caviar.studies.cli.output import out, print_json
from caviar.studies.cli.tables import NARROW, table
from caviar.studies.results.formatting import number


def ls(as_json: AsJson = False, database: Database = None) -> None:
    """List the studies of the catalog, and those in the database.

    Example: caviar ls

    In Python: caviar.list_studies(), caviar.catalog()
    """
    studies, catalog = caviar.list_studies(database=database), caviar.catalog()
    if as_json:
        print_json({"catalog": catalog, "studies": studies})
        return
    out().print(f"catalog: {', '.join(catalog)}")
    if not studies:
        out().print("the database has no studies yet; begin with: caviar run digits")
        return
    columns = slice(None) if out().width >= NARROW else slice(4)
    rows = table(*("study", "state", "done", "best", "trial", "strategy")[columns])
    for s in studies:
        best = (number(s.best and s.best.value), number(s.best and s.best.trial))
        rows.add_row(*(s.name, s.state, f"{s.done}/{s.budget}", *best, s.strategy)[columns])
    out().print(rows)
