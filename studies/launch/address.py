"""How workers elsewhere come to the database: by the variables that they are started with."""

from __future__ import annotations

from sqlalchemy.engine import URL

from caviar.storage.settings import read_settings
from caviar.studies.errors import OptionError


def check_environment(url: URL) -> None:
    """Check that workers which are started with this process's variables come to a database.

    Raises:
        OptionError: the variables name another one, or none.
    """
    if read_settings().database_url != url:
        raise OptionError("the workers read the database's address from CAVIAR_DATABASE_URL, or from the file that "
                          "CAVIAR_DATABASE_URL_FILE names: set one of them instead of --database-url")  # fmt: skip
