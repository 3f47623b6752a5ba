"""Export to MLflow: a run for each trial, in an experiment of the study's name.

The tags `caviar.study` (the study's name, and when it began) and `caviar.trial` identify a run. A second export makes
no run again: it adds what is new to each. An interrupted export is therefore simply repeated.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from caviar.studies.errors import ExtraMissing, OutputError
from caviar.studies.results.export.targets import Export, Target
from caviar.studies.results.formatting import without_password

if TYPE_CHECKING:
    from caviar.epoch import Epoch
    from caviar.studies.results.export.rows import ExportedTrial

_BATCH = 900  # metrics; a batch may hold 1,000
_TAG = 5000  # characters
_ENDS = {"complete": "FINISHED", "pruned": "KILLED", "fail": "FAILED", "abandoned": "FAILED",
         "ended elsewhere": "KILLED"}  # fmt: skip
_TAGS = ("tier", "phase", "state", "violated", "why_it_stopped", "worker", "host", "attempts")


def _export(export: Export, uri: str) -> str:
    """Bring a study's runs up to date at a tracking URI of MLflow.

    Raises:
        ExtraMissing: mlflow is not installed.
        OutputError: MLflow refused it; the runs that were written before stay, and are not written again.
    """
    from sqlalchemy.exc import SQLAlchemyError

    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # whose studies are whose is nobody's business
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # else an address without a server takes minutes
    try:
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient
    except ModuleNotFoundError as error:
        raise ExtraMissing("this", error, "mlflow") from error
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    begun = [(t, t.began) for t in export.trials if t.began is not None]
    record = export.record
    try:
        client = MlflowClient(uri)
        experiment = _experiment(client, record.name)
        there = {run.data.tags["caviar.trial"]: run for run in _runs(client, experiment, record.label)}
        for trial, began in begun:
            _write(client, experiment, record.label, trial, began, there.get(str(trial.trial)))
    except (MlflowException, SQLAlchemyError, ImportError) as error:  # the last for a driver that a database needs
        reason = without_password(str(error).strip().splitlines()[0])
        raise OutputError(f"MLflow refused it: {reason}; repeat it, or give another --to") from error
    shown = without_password(uri)
    viewing = "" if uri.startswith("http") else f"; look at them with: mlflow ui --backend-store-uri {shown}"
    return f"{len(begun)} trials are in the experiment '{record.name}' at {shown}{viewing}"


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


def _write(client: Any, experiment: str, label: str, trial: ExportedTrial, began: datetime, run: Any) -> None:
    """Add to the run of a trial what it does not have yet; without a run, make one."""
    from mlflow.entities import Metric, Param, RunTag

    start, ended = _milliseconds(began), trial.ended and _milliseconds(trial.ended)
    if run is None:
        identity = {"caviar.study": label, "caviar.trial": str(trial.trial)}
        run = client.create_run(experiment, start_time=start, tags=identity, run_name=f"trial {trial.trial}")
    run_id, written = run.info.run_id, int(run.data.tags.get("caviar.epochs", 0))
    new = [(e, round(1000 * at)) for e, at in trial.timed_epochs() if e.epoch > written]
    results = {name: value for name, value in trial.results.items() if run.data.metrics.get(name) != value}
    tagged = {name: value for name in _TAGS if (value := getattr(trial, name)) is not None}
    parts = list(_parts(new))
    for part in parts:
        metrics = [Metric(_name(name), value, at, e.epoch) for e, at in part for name, value in e.metrics.items()]
        # In the same batch as the epochs, so that the tag never names epochs that are not there.
        tags, params = [RunTag("caviar.epochs", str(part[-1][0].epoch))] if part else [], []
        if part is parts[-1]:  # in few statements, which are what takes the time
            metrics += [Metric(_name(name), value, ended or start, trial.epochs) for name, value in results.items()]
            params = [Param(n, str(v)) for n, v in trial.hyperparameters.items() if n not in run.data.params]
            tags += [RunTag(f"caviar.{name}", str(value)[:_TAG]) for name, value in tagged.items()]
        client.log_batch(run_id, metrics, params, tags)
    end = _ENDS.get(trial.state)
    if end and run.info.status != end:
        client.set_terminated(run_id, end, end_time=ended)


def _parts(epochs: Sequence[tuple[Epoch, int]]) -> Iterator[list[tuple[Epoch, int]]]:
    """Divide epochs, with their times, into parts that fit into a batch; at least one part, which may be empty."""
    part: list[tuple[Epoch, int]] = []
    size = 0
    for epoch, at in epochs:
        if part and size + len(epoch.metrics) > _BATCH:
            yield part
            part, size = [], 0
        part.append((epoch, at))
        size += len(epoch.metrics)
    yield part


def _name(metric: str) -> str:
    """Return the name of a metric as MLflow takes it."""
    return re.sub(r"[^\w\-. :/]", "_", metric)


def _milliseconds(at: datetime) -> int:
    return round(1000 * at.timestamp())


TARGETS = [Target("mlflow:URI", _export)]
