"""${message}

Revisions are numbered 0001, 0002, ... in one line. A migration imports nothing of Caviar: it must mean the same
in a year. It runs in one transaction, while `caviar db upgrade` holds the advisory lock of storage/migrate.py.
"""

import sqlalchemy as sa
from alembic import op
${imports if imports else ""}

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}
