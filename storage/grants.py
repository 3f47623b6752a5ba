"""What the role of a worker may do in the database: train, look, and ask other workers to pause or stop.

Whoever has the address of a worker can spoil the trials and the note of a study, for these are what a worker writes,
and add trials, as the next day of a panda is one. It cannot begin or delete a study, change its definition, nor touch
the tables themselves. A password on a machine that others use, too, is worth no more than that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sqlalchemy import Connection, Engine, text

from caviar.storage.errors import CannotGrant

# Every table has its line, that of Optuna's which no worker touches as well: a test compares them with the database.
# UPDATE names the columns. Locking a row needs UPDATE of any of them, and ON CONFLICT that of those it would set.
RIGHTS: Mapping[str, tuple[str, ...]] = {
    "caviar.schema_version": ("SELECT",),
    "caviar.study": ("SELECT", "UPDATE (control, at_once)"),
    "caviar.definition": ("SELECT",),
    "caviar.worker": ("SELECT", "INSERT", "UPDATE (last_seen, ended_at)"),
    "caviar.slot": (
        "SELECT",
        "INSERT",  # of a panda's next day
        "UPDATE (state, attempts, losses, kill, trial_id, epoch, token, expires_at, worker_id)",
    ),
    "caviar.epoch": (
        "SELECT",
        "INSERT",
        "UPDATE (training_loss, validation_loss, accuracy, learning_rate, seconds)",
    ),
    "caviar.checkpoint": ("SELECT", "INSERT", "UPDATE (epoch, digest, state, address, saved_at)", "DELETE"),
    "caviar.test_result": ("SELECT", "INSERT"),
    "caviar.event": ("SELECT", "INSERT"),
    "caviar.panda": ("SELECT", "UPDATE (head)"),
    "caviar.day": ("SELECT", "INSERT"),
    "caviar.nudge": ("SELECT", "INSERT", "UPDATE (state, day, epoch)"),
    "public.trials": ("SELECT", "INSERT", "UPDATE (state, datetime_complete)"),
    "public.trial_params": ("SELECT", "INSERT"),
    "public.trial_values": ("SELECT", "INSERT", "UPDATE (value, value_type)"),
    "public.trial_intermediate_values": (
        "SELECT",
        "INSERT",
        "UPDATE (intermediate_value, intermediate_value_type)",
    ),
    "public.trial_user_attributes": ("SELECT", "INSERT", "UPDATE (value_json)"),
    "public.trial_system_attributes": ("SELECT", "INSERT", "UPDATE (value_json)"),
    "public.trial_heartbeats": (),
    # What Optuna's dashboard reads besides.
    "public.studies": ("SELECT",),
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

# Who owns a schema or the database can drop what is in it. `is_foreign` stands in the way of whoever grants.
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

# Of Optuna's serial columns, by table. Identity columns, such as ours, ask for no right on theirs.
_SEQUENCES = text("""
    SELECT name, pg_get_serial_sequence(name, attname) FROM unnest(CAST(:tables AS text[])) name
    JOIN pg_attribute ON attrelid = CAST(name AS regclass) AND attnum > 0 AND NOT attisdropped AND attidentity = ''
    WHERE pg_get_serial_sequence(name, attname) IS NOT NULL
""")

# What a role can do, whoever gave it that: the role itself, one that it belongs to, or everybody.
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
    """Give a role the rights of a worker, and take from it any other on the tables; workers at work notice nothing.

    The database and the schema `public` are not Caviar's alone: what the role may do with them already, it keeps.

    Returns:
        What the role can do beyond that, since everybody can, or a role that it belongs to: none, if all is well.

    Raises:
        CannotGrant: there is no such role, it can do everything anyway, or granting takes another one than ours.
    """
    tables = list(RIGHTS)
    with engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('caviar.grant'))"))  # one would fail of two
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
        # PostgreSQL only warns of a grant that it did not make.
        missing = sorted(f"{right} on {name}" for right, name in needed - can if "(" not in right)
        if missing:
            raise CannotGrant(
                f"'{connection.scalar(text('SELECT current_user'))}' may not grant {', '.join(missing)}; let the "
                f"owner of the database do that, or repeat this as that role"
            )
    return sorted(f"{right} on {name}" for right, name in can - needed)


def _needed(connection: Connection) -> Iterator[tuple[str, str]]:
    """Return each right that a worker needs, with what it is a right on."""
    yield "CONNECT", f"DATABASE {connection.scalar(text('SELECT quote_ident(current_database())'))}"
    yield from (("USAGE", f"SCHEMA {schema}") for schema in _SCHEMAS)
    yield from ((right, table) for table, rights in RIGHTS.items() for right in rights)


def _do(connection: Connection, statement: str) -> None:
    """Execute a statement that takes no parameters: its names are quoted by the database."""
    connection.exec_driver_sql(statement.replace("%", "%%"))


def _check(connection: Connection, role: str) -> tuple[int, str]:
    """Return the role's id and its quoted name, if it makes sense to grant it something, and this one's to do so."""
    found = connection.execute(_ROLE, {"role": role}).one_or_none()
    if found is None:
        raise CannotGrant(
            f"this PostgreSQL has no role '{role}'; give one that it has, or make it first with: "
            f"CREATE ROLE \"{role}\" LOGIN PASSWORD '...'"
        )
    owners = connection.execute(_OWNERS, {"tables": list(RIGHTS), "role": found.oid}).all()
    if found.is_super or any(owner.is_role for owner in owners):
        raise CannotGrant(
            f"the role '{role}' can do everything here, since it is a superuser or owns the database or its tables, "
            f"and nothing would take that from it; make one for the workers alone: "
            f"CREATE ROLE caviar_worker LOGIN PASSWORD '...', then: caviar db grant caviar_worker"
        )
    foreign = sorted({owner.name for owner in owners if owner.is_foreign})
    if foreign:
        raise CannotGrant(
            f"'{connection.scalar(text('SELECT current_user'))}' may not grant rights on these tables: only their "
            f"owner may, or a superuser; repeat this with the address of '{foreign[0]}'"
        )
    return found.oid, found.quoted
