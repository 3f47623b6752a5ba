"""A study for MLflow: a run for each trial, in an experiment of the study's name.

A run is known by its tags `caviar.study` (which names the study and when it was begun) and `caviar.trial`: another
export of the study makes none anew, and adds to each what has come since. One that was interrupted is thus repeated.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from datetime import datetime
from itertools import accumulate
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from caviar.storage.records import StudyRecord
from caviar.studies.errors import ExtraMissing, OutputError
from caviar.studies.results.export.rows import ExportedTrial

_BATCH = 200  # epochs of four metrics each; a batch may hold 1,000
_TAG = 5000  # characters
_ENDS = {"complete": "FINISHED", "pruned": "KILLED", "fail": "FAILED", "abandoned": "FAILED"}
_OF_AN_EPOCH = ("training_loss", "validation_loss", "accuracy", "learning_rate")
_RESULTS = ("value", "test_accuracy", "test_loss")
_TAGS = ("tier", "phase", "state", "violated", "why_it_stopped", "worker", "host", "attempts")


def write_mlflow(record: StudyRecord, trials: list[ExportedTrial], uri: str) -> int:
    """Bring a study's runs up to date at a tracking URI of MLflow; return the number of trials that have begun.

    Raises:
        ExtraMissing: mlflow is not installed.
        OutputError: MLflow refused it; what was written before that stays, and is not written again.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # whose studies are whose is nobody's business
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # else an address where nobody is takes minutes
    try:
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient
    except ModuleNotFoundError as error:
        raise ExtraMissing(f"this needs {error.name}: pip install -e '.[mlflow]'") from error
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    begun = [t for t in trials if t.facts["began"] is not None]
    try:
        client = MlflowClient(uri)
        experiment = _experiment(client, record.name)
        there = {run.data.tags["caviar.trial"]: run for run in _runs(client, experiment, record.label)}
        for trial in begun:
            _write(client, experiment, record.label, trial, there.get(str(trial.facts["trial"])))
    except (MlflowException, SQLAlchemyError, ImportError) as error:  # the last for a driver that a database needs
        told = without_password(str(error).strip().splitlines()[0])
        raise OutputError(f"MLflow refused it: {told}; repeat it, or give another --to") from error
    return len(begun)


def without_password(text: str) -> str:
    """Return a text in which no address has a user or a password."""
    return re.sub(r"://[^\s'\"]*@", "://***@", text)


def _experiment(client: Any, name: str) -> str:
    found = client.get_experiment_by_name(name)
    return found.experiment_id if found else client.create_experiment(name)  # type: ignore[no-any-return]


def _runs(client: Any, experiment: str, label: str) -> Iterator[Any]:
    """Yield the runs that an earlier export of this study made."""
    token = None
    while True:
        page = client.search_runs([experiment], f"tags.`caviar.study` = '{label}'", max_results=1000, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _write(client: Any, experiment: str, label: str, trial: ExportedTrial, run: Any) -> None:
    """Write what a run does not have yet."""
    from mlflow.entities import Metric, Param, RunTag

    facts, began = trial.facts, _milliseconds(trial.facts["began"])
    if run is None:
        known_by = {"caviar.study": label, "caviar.trial": str(facts["trial"])}
        run = client.create_run(experiment, start_time=began, tags=known_by, run_name=f"trial {facts['trial']}")
    run_id, known = run.info.run_id, int(run.data.tags.get("caviar.epochs", 0))
    clock = accumulate((e.seconds for e in trial.curve), initial=facts["began"].timestamp())
    next(clock)
    new = [(e, round(1000 * at)) for e, at in zip(trial.curve, clock, strict=True) if e.epoch > known]
    ended = facts["ended"] and _milliseconds(facts["ended"])
    results = [n for n in _RESULTS if facts[n] is not None and run.data.metrics.get(n) != facts[n]]
    for start in range(0, max(len(new), 1), _BATCH):
        part = new[start : start + _BATCH]
        metrics = [Metric(name, getattr(e, name), at, e.epoch) for e, at in part for name in _OF_AN_EPOCH]
        # In the same batch: what is known to be there is there.
        tags, params = [RunTag("caviar.epochs", str(part[-1][0].epoch))] if part else [], []
        if start + _BATCH >= len(new):  # in few statements, which are what takes the time
            metrics += [Metric(name, facts[name], ended or began, facts["epochs"]) for name in results]
            params = [Param(n, str(v)) for n, v in trial.hyperparameters.items() if n not in run.data.params]
            tags += [RunTag(f"caviar.{n}", str(facts[n])[:_TAG]) for n in _TAGS if facts[n] is not None]
        client.log_batch(run_id, metrics, params, tags)
    if facts["state"] in _ENDS and run.info.status != _ENDS[facts["state"]]:
        client.set_terminated(run_id, _ENDS[facts["state"]], end_time=ended)


def _milliseconds(at: datetime) -> int:
    return round(1000 * at.timestamp())
