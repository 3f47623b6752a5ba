"""Studies as somebody sees them on a page: with running trials, workers and events, written without any training."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple
from urllib.parse import urlencode
from wsgiref.util import setup_testing_defaults

from sqlalchemy import Engine, event, text

from caviar.storage.records import StudyRecord

_RUN = """
    INSERT INTO public.trials (trial_id, number, study_id, state, datetime_start)
    SELECT nextval('public.trials_trial_id_seq'), :slot, optuna_study_id, 'RUNNING', timezone('UTC', now())
    FROM caviar.study WHERE study_id = :study;
    INSERT INTO caviar.worker (worker_id, study_id, host, machine, pid, device, packages)
    VALUES (gen_random_uuid(), :study, :host, 'elsewhere', 4121, 'cuda:0', '{}');
    UPDATE caviar.slot SET state = 'leased', token = gen_random_uuid(), expires_at = now() + interval '1 hour',
      attempts = 1, trial_id = currval('public.trials_trial_id_seq'),
      worker_id = (SELECT worker_id FROM caviar.worker WHERE study_id = :study AND host = :host LIMIT 1)
    WHERE study_id = :study AND number = :slot
"""
_EPOCH = """
    UPDATE caviar.slot SET epoch = epoch + 1 WHERE study_id = :study AND number = :slot;
    INSERT INTO public.trial_intermediate_values (trial_id, step, intermediate_value, intermediate_value_type)
    SELECT trial_id, epoch, :value, 'FINITE' FROM caviar.slot WHERE study_id = :study AND number = :slot;
    INSERT INTO caviar.epoch (study_id, slot, epoch, metrics, seconds)
    SELECT study_id, number, epoch, jsonb_build_object('accuracy', CAST(:value AS float8)), 1.5
    FROM caviar.slot WHERE study_id = :study AND number = :slot
"""
_FINISH = """
    UPDATE public.trials SET state = 'COMPLETE', datetime_complete = timezone('UTC', now())
    WHERE trial_id = (SELECT trial_id FROM caviar.slot WHERE study_id = :study AND number = :slot);
    INSERT INTO public.trial_values (trial_id, objective, value, value_type)
    SELECT trial_id, 0, :value, 'FINITE' FROM caviar.slot WHERE study_id = :study AND number = :slot;
    UPDATE caviar.slot SET state = 'done', token = NULL, expires_at = NULL WHERE study_id = :study AND number = :slot
"""


def execute(engine: Engine, statements: str, **values: Any) -> None:
    """Execute statements in one transaction."""
    with engine.begin() as connection:
        for statement in statements.split(";"):
            given = {name: value for name, value in values.items() if f":{name}" in statement}
            connection.execute(text(statement), given)


def let_run(engine: Engine, record: StudyRecord, slot: int, *values: float, host: str = "node") -> None:
    """Let a worker on another host train a trial, with a value after each epoch so far."""
    execute(engine, _RUN, study=record.study_id, slot=slot, host=host)
    for value in values:
        add_epoch(engine, record, slot, value)


def add_epoch(engine: Engine, record: StudyRecord, slot: int, value: float) -> None:
    """Let a running trial come to the end of its next epoch."""
    execute(engine, _EPOCH, study=record.study_id, slot=slot, value=value)


def finish(engine: Engine, record: StudyRecord, slot: int, value: float) -> None:
    """Let a running trial be complete."""
    execute(engine, _FINISH, study=record.study_id, slot=slot, value=value)


class Answer(NamedTuple):
    """The answer to a request: its status, headers and text."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def document(self) -> Any:
        """The answer as JSON."""
        return json.loads(self.text)


def ask(application: Any, path: str, form: Mapping[str, str] | None = None, **more: str) -> Answer:
    """Ask an application for a page, or send it a form."""
    body = urlencode(form or {}).encode()
    environ: dict[str, Any] = {
        "REQUEST_METHOD": "GET" if form is None else "POST", "PATH_INFO": path, "HTTP_HOST": "127.0.0.1",
        "CONTENT_TYPE": "application/x-www-form-urlencoded", "CONTENT_LENGTH": str(len(body)), **more,
    }  # fmt: skip
    setup_testing_defaults(environ)
    environ["wsgi.input"] = io.BytesIO(body)
    answered: list[Any] = []
    said = b"".join(application(environ, lambda status, headers, *_: answered.append((status, dict(headers)))))
    return Answer(int(answered[0][0][:3]), answered[0][1], said.decode())


@contextmanager
def statements(engine: Engine | type[Engine]) -> Iterator[list[str]]:
    """Collect the statements that an engine, or any one, sends within the context."""
    sent: list[str] = []

    def keep(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        sent.append(statement)

    event.listen(engine, "before_cursor_execute", keep)
    yield sent
    event.remove(engine, "before_cursor_execute", keep)
