"""Check the database and this machine."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Engine

from caviar.studies.api.session import LOGGER, data_folder, settings_of
from caviar.studies.doctor.run import Report, examine


def doctor(*, fix: bool = False, data_dir: str | Path | None = None, database: str | Engine | None = None) -> Report:
    """Check the database and this machine; a database that does not answer is a finding like others.

    Args:
        fix: take back what dead workers hold, and remove what nobody can need; nothing else is ever changed.

    Returns:
        The findings in the order of the checks, and what was done about them.

    Raises:
        BadDatabaseUrl: the address cannot be read.

    Examples:
        >>> [finding.message for finding in caviar.doctor().findings if finding.level == "error"]
    """
    return examine(settings_of(database), data_folder(data_dir), LOGGER.info, fix=fix)
