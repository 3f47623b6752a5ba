"""Alembic's entry point: run the migrations on the connection, and in the transaction, of storage/migrate.py."""

from alembic import context

from caviar.storage.tables import SCHEMA, VERSION_TABLE, metadata


def _only_ours(name: str | None, kind: str, parents: object) -> bool:  # noqa: ARG001
    """Leave out Optuna's tables, which are in the schema public."""
    return name == SCHEMA if kind == "schema" else True


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    version_table_schema=SCHEMA,
    include_schemas=True,
    include_name=_only_ours,
    compare_server_default=True,
)
with context.begin_transaction():
    context.run_migrations()
