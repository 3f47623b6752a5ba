"""The rights that a role lacks to train or to create the tables, as found in PostgreSQL's catalog."""

from __future__ import annotations

from sqlalchemy import Engine, text

from caviar.storage.grants import RIGHTS

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
