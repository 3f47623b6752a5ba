"""The database rights of a worker's role: to train, to read, to pause, resume or stop studies,
and to free machines.

With such a role's password one can spoil trials and the dashboard's note, since workers write these, and add trials,
since a panda's next day is one. One cannot create or delete a study, change a definition, or alter the tables. So a
password that lies on shared machines gives away no more than that. docs/security.md has the table for users, and
tests/storage/test_enemy.py tries each statement of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sqlalchemy import Connection, Engine, text

from caviar.storage.errors import CannotGrant
from caviar.text import flaw, shown

# Every table is listed, Optuna's unused ones too: a test compares the list with the database. UPDATE names columns.
# Locking a row needs UPDATE of any column; ON CONFLICT DO UPDATE needs UPDATE of the columns that it sets.
RIGHTS: Mapping[str, tuple[str, ...]] = {
    "caviar.schema_version": ("SELECT",),
    "caviar.study": ("SELECT", "UPDATE (control, at_once, tester, tester_until)"),
    "caviar.definition": ("SELECT",),
    "caviar.worker": ("SELECT", "INSERT", "UPDATE (last_seen, ended_at, leave)"),
    "caviar.slot": (
        "SELECT",
        "INSERT",  # a panda's next day
        "UPDATE (state, attempts, losses, kill, trial_id, epoch, token, expires_at, worker_id)",
    ),
    "caviar.epoch": ("SELECT", "INSERT", "UPDATE (metrics, seconds)"),
    "caviar.checkpoint": ("SELECT", "INSERT", "UPDATE (epoch, digest, state, address, saved_at)", "DELETE"),
    "caviar.test_result": ("SELECT", "INSERT"),
    "caviar.event": ("SELECT", "INSERT"),
    "caviar.panda": ("SELECT", "UPDATE (head)"),
    "caviar.day": ("SELECT", "INSERT"),
    "caviar.nudge": ("SELECT", "INSERT", "UPDATE (state, day, epoch)"),
    "public.trials": ("SELECT", "INSERT", "UPDATE (state, datetime_start, datetime_complete)"),
    "public.trial_params": ("SELECT", "INSERT"),
    "public.trial_values": ("SELECT", "INSERT", "UPDATE (value, value_type)"),
    "public.trial_intermediate_values": ("SELECT", "INSERT", "UPDATE (intermediate_value, intermediate_value_type)"),
    "public.trial_user_attributes": ("SELECT", "INSERT", "UPDATE (value_json)"),
    "public.trial_system_attributes": ("SELECT", "INSERT", "UPDATE (value_json)"),
    "public.trial_heartbeats": (),
    # Optuna gives a trial its number under a lock of this row; no study_id can change, since other rows name it.
    "public.studies": ("SELECT", "UPDATE (study_id)"),
    # What Optuna's dashboard reads in addition.
    "public.study_directions": ("SELECT",),
    "public.study_user_attributes": ("SELECT",),
    "public.study_system_attributes": ("SELECT", "INSERT", "UPDATE (value_json)"),  # its note
    "public.version_info": ("SELECT",),
    "public.alembic_version": ("SELECT",),
}
_SCHEMAS = ("caviar", "public")

_ROLE = text("""
    SELECT r.oid, quote_ident(r.rolname) AS quoted,
           EXISTS (SELECT FROM pg_roles s WHERE s.rolsuper AND pg_has_role(r.oid, s.oid, 'MEMBER')) AS is_super
    FROM pg_roles r WHERE r.rolname = :role
""")

# The owner of a schema or of the database can drop what is in it. Where `is_foreign`, the current role cannot grant.
_OWNERS = text("""
    WITH owned (owner, is_ours) AS (
        SELECT relowner, true FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE nspname || '.' || relname = ANY(CAST(:tables AS text[]))
        UNION SELECT nspowner, nspname = 'caviar' FROM pg_namespace WHERE nspname IN ('caviar', 'public')
        UNION SELECT datdba, false FROM pg_database WHERE datname = current_database()
    )
    SELECT pg_get_userbyid(owner) AS name, pg_has_role(CAST(:role AS oid), owner, 'MEMBER') AS is_role,
           is_ours AND NOT pg_has_role(owner, 'USAGE') AS is_foreign
    FROM owned ORDER BY name
""")

# The sequences of Optuna's serial columns. Identity columns, such as Caviar's, need no right on a sequence.
_SEQUENCES = text("""
    SELECT name, pg_get_serial_sequence(name, attname) FROM unnest(CAST(:tables AS text[])) name
    JOIN pg_attribute ON attrelid = CAST(name AS regclass) AND attnum > 0 AND NOT attisdropped AND attidentity = ''
    WHERE pg_get_serial_sequence(name, attname) IS NOT NULL
""")

# All rights of a role, whether its own, inherited from another role, or granted to PUBLIC.
_CAN = text("""
    SELECT can, name FROM unnest(CAST(:tables AS text[])) name,
           unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) can
    WHERE has_table_privilege(CAST(:role AS oid), name, can)
    UNION ALL
    SELECT can, 'SCHEMA ' || name FROM unnest(CAST(:schemas AS text[])) name, unnest(ARRAY['USAGE', 'CREATE']) can
    WHERE has_schema_privilege(CAST(:role AS oid), name, can)
    UNION ALL
    SELECT can, 'DATABASE ' || quote_ident(current_database()) FROM unnest(ARRAY['CONNECT', 'CREATE']) can
    WHERE has_database_privilege(CAST(:role AS oid), current_database(), can)
""")


def grant_worker(engine: Engine, role: str) -> list[str]:
    """Give a role exactly the rights of a worker on the tables. Running workers are not disturbed.

    Rights on the database and on the schema `public`, which other programs may use, are only added.

    Returns:
        Further rights that the role has from PUBLIC or from other roles, such as "CREATE on SCHEMA public".

    Raises:
        CannotGrant: the role does not exist or can do everything anyway, or the current role may not grant.
    """
    tables = list(RIGHTS)
    with engine.begin() as connection:
        connection.execute(
            text("SELECT pg_advisory_xact_lock(hashtext('caviar.grant'))")
        )  # of two at once, one would fail
        oid, quoted = _check(connection, role)
        sequences = {(table, sequence) for table, sequence in connection.execute(_SEQUENCES, {"tables": tables})}
        for name in ("SCHEMA caviar", *tables, *(f"SEQUENCE {sequence}" for _, sequence in sequences)):
            _do(connection, f"REVOKE ALL ON {name} FROM {quoted} CASCADE")
        needed = set(_needed(connection))
        for right, name in needed:
            _do(connection, f"GRANT {right} ON {name} TO {quoted}")
        for table, sequence in sequences:
            if "INSERT" in RIGHTS[table]:
                _do(connection, f"GRANT USAGE ON SEQUENCE {sequence} TO {quoted}")
        parameters = {"tables": tables, "schemas": list(_SCHEMAS), "role": oid}
        can = {(right, name) for right, name in connection.execute(_CAN, parameters)}
        # PostgreSQL only warns if it does not grant.
        missing = sorted(f"{right} on {name}" for right, name in needed - can if "(" not in right)
        if missing:
            raise CannotGrant(
                f"'{connection.scalar(text('SELECT current_user'))}' may not grant {', '.join(missing)}; let the "
                f"owner of the database do that, or run this again as that role"
            )
    return sorted(f"{right} on {name}" for right, name in can - needed)


def _needed(connection: Connection) -> Iterator[tuple[str, str]]:
    """Yield each right that a worker needs, with its object."""
    yield "CONNECT", f"DATABASE {connection.scalar(text('SELECT quote_ident(current_database())'))}"
    yield from (("USAGE", f"SCHEMA {schema}") for schema in _SCHEMAS)
    yield from ((right, table) for table, rights in RIGHTS.items() for right in rights)


def _do(connection: Connection, statement: str) -> None:
    """Execute a statement without parameters, whose names the database has quoted."""
    connection.exec_driver_sql(statement.replace("%", "%%"))


def _check(connection: Connection, role: str) -> tuple[int, str]:
    """Return the role's id and quoted name, after checking that granting makes sense and is allowed."""
    row = None if flaw(role) else connection.execute(_ROLE, {"role": role}).one_or_none()
    if row is None:
        role = shown(role)
        raise CannotGrant(
            f"this PostgreSQL has no role '{role}'; name one that exists, or create it first with: "
            f"CREATE ROLE \"{role}\" LOGIN PASSWORD '...'"
        )
    owners = connection.execute(_OWNERS, {"tables": list(RIGHTS), "role": row.oid}).all()
    if row.is_super or any(owner.is_role for owner in owners):
        raise CannotGrant(
            f"the role '{role}' can do everything here, since it is a superuser or owns the database or its tables, "
            f"and that cannot be revoked; create a role for the workers alone: "
            f"CREATE ROLE caviar_worker LOGIN PASSWORD '...', then: caviar db grant caviar_worker"
        )
    foreign = sorted({owner.name for owner in owners if owner.is_foreign})
    if foreign:
        raise CannotGrant(
            f"'{connection.scalar(text('SELECT current_user'))}' may not grant rights on these tables: only their "
            f"owner may, or a superuser; run this again with the address of '{foreign[0]}'"
        )
    return row.oid, row.quoted


# The catalog may be read by every role. Optuna's serial columns use sequences, which need rights of their own.
_MISSING = text("""
    WITH needed AS (
        SELECT c.oid, n.name, n.can
        FROM unnest(CAST(:names AS text[]), CAST(:rights AS text[])) AS n (name, can)
        JOIN pg_namespace s ON s.nspname = split_part(n.name, '.', 1)
        JOIN pg_class c ON c.relnamespace = s.oid AND c.relname = split_part(n.name, '.', 2)
    )
    SELECT can || ' on ' || name FROM needed
    WHERE NOT CASE can WHEN 'UPDATE' THEN has_any_column_privilege(oid, can) ELSE has_table_privilege(oid, can) END
    UNION ALL
    SELECT 'USAGE on SEQUENCE ' || CAST(q.oid AS regclass) FROM needed
    JOIN pg_depend d ON d.refobjid = needed.oid AND d.deptype = 'a' JOIN pg_class q ON q.oid = d.objid
    WHERE can = 'INSERT' AND CASE q.relkind WHEN 'S' THEN NOT has_sequence_privilege(q.oid, 'USAGE') END
    UNION ALL
    SELECT 'USAGE on SCHEMA ' || nspname FROM pg_namespace
    WHERE nspname IN ('caviar', 'public') AND NOT has_schema_privilege(oid, 'USAGE')
    UNION ALL
    SELECT 'CREATE on DATABASE ' || current_database()
    WHERE to_regnamespace('caviar') IS NULL AND NOT has_database_privilege(current_database(), 'CREATE')
    UNION ALL
    SELECT 'CREATE on SCHEMA public' FROM pg_namespace s
    WHERE nspname = 'public' AND NOT has_schema_privilege(s.oid, 'CREATE')
      AND NOT EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = s.oid AND c.relname = 'studies')
    ORDER BY 1
""")


def missing_rights(engine: Engine) -> list[str]:
    """Return the rights of a worker that this role lacks; in an empty database, those to create the tables."""
    needed = [(name, right.split(" ")[0]) for name, rights in RIGHTS.items() for right in rights]
    parameters = {"names": [name for name, _ in needed], "rights": [right for _, right in needed]}
    with engine.connect() as connection:
        return list(connection.scalars(_MISSING, parameters))
