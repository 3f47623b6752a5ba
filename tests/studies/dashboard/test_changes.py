"""No route of the installed dashboard changes a study of Caviar's, but for those that are decided to do no harm."""

from __future__ import annotations

import io
import json
import re
from typing import Any
from wsgiref.util import setup_testing_defaults

import optuna
import pytest
from optuna_dashboard import wsgi
from sqlalchemy import Engine, inspect, text

from caviar.studies.dashboard.changes import READING, ROUTES
from caviar.studies.dashboard.server import application
from tests.helpers.workers import register, worker

HARMLESS = {rule for (_, rule), why in ROUTES.items() if why is None}
# What a route may want to know.
BODY = {
    "study_name": "other", "directions": ["minimize"], "version": 1, "body": "seen", "state": "Complete",
    "values": [1.0], "user_attrs": {"seen": True}, "mode": "ChooseWorst", "candidates": [0, 1], "clicked": 0,
    "output_type": "note", "file": "data:text/plain;base64,eA==", "filename": "x",
}  # fmt: skip


def installed() -> set[tuple[str, str]]:
    """The changing routes of the dashboard that is installed."""
    made = wsgi(optuna.storages.InMemoryStorage())
    return {(route.method, route.rule) for route in made.routes if route.method not in READING}


def ask(shown: Any, method: str, path: str) -> tuple[int, str]:
    body = json.dumps(BODY).encode()
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method, "PATH_INFO": path, "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(body)), "wsgi.input": io.BytesIO(body),
    }  # fmt: skip
    setup_testing_defaults(environ)
    answered: list[str] = []
    said = b"".join(shown(environ, lambda status, *_: answered.append(status)))
    return int(answered[0][:3]), said.decode()


def contents(engine: Engine) -> dict[str, Any]:
    """Every row of every table."""
    with engine.connect() as connection:
        return {
            f"{schema}.{table}": sorted(map(str, connection.execute(text(f"SELECT t::text FROM {schema}.{table} t"))))
            for schema in ("caviar", "public")
            for table in inspect(engine).get_table_names(schema)
        }


def test_each_changing_route_is_decided_on_by_name() -> None:
    """One that a new version of the dashboard adds must be decided about; till then, it is refused."""
    assert installed() == set(ROUTES)


def test_no_changing_route_harms_a_study_of_caviars(engine: Engine) -> None:
    record, study = register(engine, budget=4)
    worker(engine, record, study).run()
    url = engine.url.render_as_string(hide_password=False)
    foreign = optuna.create_study(storage=url, study_name="foreign")
    foreign.add_trial(optuna.trial.create_trial(value=1.0))
    with engine.connect() as connection:
        of_ours = text("SELECT max(trial_id) FROM public.trials WHERE study_id = :id")
        trial = connection.scalar(of_ours, {"id": record.optuna_study_id})
    shown, before, refused = application(engine), contents(engine), 0
    for method, rule in sorted(installed()):
        # Either of the two may be of Caviar's.
        for study_id, trial_id in ((record.optuna_study_id, trial), (foreign._study_id, trial)):
            path = rule.replace("<study_id:int>", str(study_id)).replace("<trial_id:int>", str(trial_id))
            path = re.sub(r"<[^>]*>", "0", path)
            if rule in HARMLESS or (study_id == foreign._study_id and "<trial_id" not in rule and "<study_id" in rule):
                continue
            for end in ("", "/", "//", "\n", "\n/", "\xff"):
                status, said = ask(shown, method, path + end)
                assert status in (403, 404, 405), (method, path + end, said)  # not all of these end a path of a route
                refused += status == 403
            assert ask(shown, method, path)[0] == 403
    assert refused > 2 * len(set(ROUTES) - {(m, r) for m, r in ROUTES if r in HARMLESS})
    assert contents(engine) == before


def test_a_route_that_nobody_decided_on_is_refused_for_every_study(engine: Engine) -> None:
    made = application(engine)
    made.route("/api/studies/<study_id:int>/new", "POST", lambda study_id: "changed")  # type: ignore[attr-defined]
    assert ask(made, "POST", "/api/studies/99/new") == (
        403, '{"reason": "this version of Optuna\'s dashboard has a way to change things that Caviar does not know"}'
    )  # fmt: skip


def test_notes_and_the_studies_of_other_programs_may_be_changed(engine: Engine) -> None:
    record, _ = register(engine)
    url = engine.url.render_as_string(hide_password=False)
    foreign = optuna.create_study(storage=url, study_name="foreign")
    shown = application(engine)
    note = f"/api/studies/{record.optuna_study_id}/note"
    assert ask(shown, "PUT", note)[0] in (204, 409)  # it has a note of Caviar's already, or not yet
    assert ask(shown, "POST", f"/api/studies/{foreign._study_id}/rename")[0] == 201
    with pytest.raises(KeyError):
        optuna.load_study(study_name="foreign", storage=url)
    renamed = optuna.load_study(study_name="other", storage=url)
    assert ask(shown, "DELETE", f"/api/studies/{renamed._study_id}")[0] == 204
