"""Databases with studies of many finished trials, written by SQL in seconds, for benchmarks/storage_cost.py.

The trials have 10 epochs, if no other number is asked for, and random values in the search space of the catalog's
`digits`; two of three are complete, the others pruned. Their accuracies are worse than any that is measured, so that
nothing new is pruned. Left out are their user attributes, which no sampler reads.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import optuna
from optuna.distributions import distribution_to_json
from sqlalchemy import create_engine, text
from sqlalchemy.engine import URL

from caviar.storage import migrate
from caviar.storage.engine import make_engine
from caviar.studies.catalog.digits import STUDY
from caviar.studies.definition import change
from caviar.studies.lifecycle.manager import open_study

NAME = "filled"
EPOCHS = 10
_MOST_NEW = 400  # slots that a filled study has left

_TRIALS = """
    INSERT INTO public.trials (trial_id, number, study_id, state, datetime_start, datetime_complete)
    SELECT n + 1, n, :study, CAST(CASE WHEN n % 3 = 2 THEN 'PRUNED' ELSE 'COMPLETE' END AS public.trialstate),
           timezone('UTC', now()), timezone('UTC', now())
    FROM generate_series(0, :size - 1) n;
    INSERT INTO public.trial_intermediate_values (trial_id, step, intermediate_value, intermediate_value_type)
    SELECT n + 1, step, (0.5 + random()) * 1e-4 * step, 'FINITE'
    FROM generate_series(0, :size - 1) n, generate_series(1, :epochs) step;
    INSERT INTO public.trial_values (trial_id, objective, value, value_type)
    SELECT trial_id, 0, intermediate_value, 'FINITE' FROM public.trial_intermediate_values WHERE step = :epochs;
    SELECT setval(pg_get_serial_sequence('public.trials', 'trial_id'), :size)
"""
_SLOTS = """
    UPDATE caviar.slot SET state = 'done', attempts = 1, trial_id = number + 1, epoch = :epochs WHERE number < :size;
    INSERT INTO caviar.epoch (study_id, slot, epoch, metrics, seconds)
    SELECT s.study_id, s.number, v.step, jsonb_build_object(
        'training_loss', 2, 'validation_loss', 2, 'accuracy', v.intermediate_value, 'learning_rate', 0.1), 1
    FROM caviar.slot s JOIN public.trial_intermediate_values v USING (trial_id)
"""
_PARAMETERS = """
    INSERT INTO public.trial_params (trial_id, param_name, param_value, distribution_json)
    SELECT trial_id, :name, value, :kind
    FROM unnest(CAST(:ids AS integer[]), CAST(:values AS float8[])) AS given(trial_id, value)
"""
_RUNNING = f"""
    UPDATE public.trials SET state = 'RUNNING', datetime_complete = NULL WHERE number >= :size - :running;
    DELETE FROM public.trial_intermediate_values v USING public.trials t
    WHERE t.trial_id = v.trial_id AND t.state = 'RUNNING' AND v.step > {EPOCHS // 2}
"""


class Databases:
    """Filled databases on one server, each made once and copied for every measurement."""

    def __init__(self, server: URL) -> None:
        self._server = server
        self._admin = create_engine(server, isolation_level="AUTOCOMMIT")
        self._made: set[str] = set()

    @contextmanager
    def copy(self, side: str, size: int, epochs: int = EPOCHS) -> Iterator[URL]:
        """Make a database that has so many finished trials, of `caviar` or of plain `optuna`; drop it at the end."""
        name = f"{side}_{size}_{epochs}"
        if name not in self._made:
            self._execute(f"CREATE DATABASE {name}")
            _fill(self._server.set(database=name), side, size, epochs)
            self._made.add(name)
        self._execute(f"CREATE DATABASE measured TEMPLATE {name}")
        try:
            yield self._server.set(database="measured")
        finally:
            self._execute("DROP DATABASE measured WITH (FORCE)")

    def _execute(self, statement: str) -> None:
        with self._admin.connect() as connection:
            connection.exec_driver_sql(statement)


def execute(url: URL, statements: str, **values: Any) -> Any:
    """Execute statements in one transaction; return the only value of the last, if it has one."""
    engine = create_engine(url)
    with engine.begin() as connection:
        for statement in statements.split(";"):
            result = connection.execute(text(statement), {n: v for n, v in values.items() if f":{n}" in statement})
        found = result.scalar() if result.returns_rows else None
    engine.dispose()
    return found


def leave_open(url: URL, size: int, slots: int) -> None:
    """Leave only so many slots to be worked on."""
    execute(url, f"DELETE FROM caviar.slot WHERE number >= {size + slots}")


def let_run(url: URL, size: int, running: int) -> None:
    """Make the last trials running ones, in the middle of their epochs."""
    execute(url, _RUNNING, size=size, running=running)


def _fill(url: URL, side: str, size: int, epochs: int) -> None:
    if side == "caviar":
        engine = make_engine(url)
        migrate.ensure_schema(engine)
        study = open_study(engine, change(STUDY, name=NAME, budget=size + _MOST_NEW, epochs=epochs)).optuna_study_id
        engine.dispose()
    else:
        address = url.render_as_string(hide_password=False)
        storage = optuna.storages.RDBStorage(address)
        study = optuna.create_study(study_name=NAME, storage=storage, direction="maximize")._study_id
        storage.engine.dispose()  # a database that is in use cannot be copied
    execute(url, _TRIALS, study=study, size=size, epochs=epochs)
    draw = random.Random(0)
    for stored, scale in ((scale.stored_name(name), scale) for name, scale in STUDY.scales().items()):
        kind = scale.distribution()
        values = [kind.to_internal_repr(scale.to_stored(scale.value(draw.random()))) for _ in range(size)]
        of_all = {"name": stored, "kind": distribution_to_json(kind)}
        execute(url, _PARAMETERS, ids=list(range(1, size + 1)), values=values, **of_all)
    if side == "caviar":
        execute(url, _SLOTS, size=size, epochs=epochs)
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql("VACUUM ANALYZE")
        connection.exec_driver_sql("CHECKPOINT")
    engine.dispose()
