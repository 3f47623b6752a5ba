"""Compare studies: curves, winners, cost, and how their definitions differ."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Engine

from caviar.storage.definitions import load_study
from caviar.studies.api.session import connect
from caviar.studies.errors import ExtraMissing
from caviar.studies.results.atomic_write import atomic_write

if TYPE_CHECKING:
    from caviar.studies.results.compare.records import StudyComparison


def compare(
    studies: Sequence[str], *, file: str | Path | None = None, database: str | Engine | None = None
) -> StudyComparison:
    """Return a comparison of studies, and write it as a page.

    It has their best values so far, their winners with intervals, what they cost until they came to the same value, and
    how their definitions differ.

    Args:
        studies: the names of two studies or more of one metric and direction.
        file: where to write the page, one HTML file that loads nothing from a network; None writes none.

    Raises:
        OptionError: there are fewer than two, one stands twice, one is a panda, or they have no metric in common.
        ExtraMissing: the package of the page's pictures is not installed.
        OutputError: the file cannot be written.

    Examples:
        >>> for study in caviar.compare(["digits", "digits-random"]).studies:
        ...     print(study.name, study.winner.value, study.to_common)
    """
    from caviar.studies.results.compare.page import comparison_page
    from caviar.studies.results.compare.reading import read_comparison

    with connect(database) as engine:
        found = read_comparison(engine, [load_study(engine, name) for name in studies])
    if file is not None:
        try:
            text = comparison_page(found)
        except ModuleNotFoundError as error:
            raise ExtraMissing("the page", error, "report") from error
        with atomic_write(Path(file), "-o") as unfinished:
            unfinished.write_text(text, encoding="utf-8")
    return found
