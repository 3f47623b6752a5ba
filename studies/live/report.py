"""The full report of a study, or of a panda, as `caviar report -o` writes it."""

from __future__ import annotations

from sqlalchemy import Engine

from caviar.storage.definitions import load_study
from caviar.storage.fingerprints import Fingerprint
from caviar.studies.errors import ExtraMissing
from caviar.studies.panda.journal import read_journal
from caviar.studies.panda.page import panda_page
from caviar.studies.results.report.page import page
from caviar.studies.results.report.reading import read_report


def report_page(engine: Engine, mark: Fingerprint) -> str:
    """Return the report as one HTML document.

    Raises:
        ExtraMissing: the package of its pictures is not installed.
    """
    record = load_study(engine, mark.name)
    try:
        return panda_page(read_journal(engine, record)) if mark.is_panda else page(read_report(engine, record))
    except ModuleNotFoundError as error:
        raise ExtraMissing("the report", error, "report") from error
