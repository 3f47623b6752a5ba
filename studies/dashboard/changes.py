"""Decide on each way to change something in Optuna's dashboard by the name of its route, which the router has matched.

Optuna's dashboard renames a study by copying it and deleting the original, to which all of Caviar's rows belong. Only
Caviar's own commands know of the workers, slots and checkpoints of its studies, so only they end and delete them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from bottle import HTTPResponse, Route
from sqlalchemy import Engine

from caviar.storage.definitions import is_caviars

READING = ("GET", "HEAD")
_RENAME = "a rename would take the study from Caviar; run it under another name instead"
_DELETE = "a study of Caviar's has workers and checkpoints, too; delete it with: caviar delete NAME"
_END = "Caviar's workers end its trials; end one early with: caviar kill NAME TRIAL"
_PREFERENCE = "a study of Caviar's has a measured value, and no preferences"
_FILE = "Caviar does not know of files of a study, and would leave them behind"
_UPGRADE = "Caviar's tables and Optuna's are upgraded together; see: caviar db check"
_UNKNOWN = "this version of Optuna's dashboard has a way to change things that Caviar does not know"

# By method and rule: why it is refused on a study of Caviar's, or None if it does no harm there. A reason of a route
# that names no study holds for all of them.
ROUTES: Mapping[tuple[str, str], str | None] = {
    ("POST", "/api/studies"): None,  # a new study, which is not Caviar's
    ("POST", "/api/studies/<study_id:int>/rename"): _RENAME,
    ("DELETE", "/api/studies/<study_id:int>"): _DELETE,
    ("PUT", "/api/studies/<study_id:int>/note"): None,
    ("PUT", "/api/studies/<study_id:int>/<trial_id:int>/note"): None,
    ("POST", "/api/trials/<trial_id:int>/user-attrs"): None,
    ("POST", "/api/trials/<trial_id:int>/tell"): _END,
    ("POST", "/api/studies/<study_id:int>/<trial_id:int>/skip"): _PREFERENCE,
    ("POST", "/api/studies/<study_id:int>/preference"): _PREFERENCE,
    ("PUT", "/api/studies/<study_id:int>/preference_feedback_component"): _PREFERENCE,
    ("DELETE", "/api/studies/<study_id:int>/preference/<history_id>"): _PREFERENCE,
    ("POST", "/api/studies/<study_id:int>/preference/<history_id>"): _PREFERENCE,
    ("POST", "/api/artifacts/<study_id:int>"): _FILE,
    ("POST", "/api/artifacts/<study_id:int>/<trial_id:int>"): _FILE,
    ("DELETE", "/api/artifacts/<study_id:int>/<artifact_id:re:[0-9a-fA-F-]+>"): _FILE,
    ("DELETE", "/api/artifacts/<study_id:int>/<trial_id:int>/<artifact_id:re:[0-9a-fA-F-]+>"): _FILE,
    ("POST", "/incompatible-rdb-schema"): _UPGRADE,
    ("POST", "/api/llm/trial_filter_query"): None,  # these ask a language model, of which Caviar configures none
    ("POST", "/api/llm/generate_plotly_graph_query"): None,
    ("POST", "/api/llm/re_generate_plotly_graph_query"): None,
}


class Changes:
    """A plugin of the dashboard's web framework, bottle: it stands between each route and its function.

    Args:
        engine: the database whose studies the dashboard shows.
    """

    name, api = "caviar", 2

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def apply(self, callback: Callable[..., Any], route: Route) -> Callable[..., Any]:
        """Return the function of a route, or one that refuses first."""
        if route.method in READING:
            return callback
        key = (route.method, route.rule)

        def decided(**arguments: Any) -> Any:
            why = ROUTES.get(key, _UNKNOWN)
            if why is not None and (not arguments or key not in ROUTES or self._is_ours(arguments)):
                return HTTPResponse(json.dumps({"reason": why}), 403, {"Content-Type": "application/json"})
            return callback(**arguments)

        return decided

    def _is_ours(self, arguments: Mapping[str, Any]) -> bool:
        return is_caviars(self._engine, arguments.get("study_id"), arguments.get("trial_id"))
