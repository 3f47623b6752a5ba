"""All facts of a report, as plain JSON values, without any plotting: the same for the page, the terminal and --json."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Engine

from caviar.storage.curves import read_curves, read_times
from caviar.storage.events import read_events
from caviar.storage.records import StudyRecord
from caviar.storage.revisions import read_versions
from caviar.storage.status import read_progress, read_trials
from caviar.storage.workers import read_workers
from caviar.studies.lifecycle.manager import definition_of
from caviar.studies.results.formatting import to_json
from caviar.studies.results.importance import importances
from caviar.studies.results.importance import to_facts as importance_facts
from caviar.studies.results.report.answers import answers
from caviar.studies.results.summaries import state_of, trial_summaries
from caviar.studies.results.winner import read_winner, standings
from caviar.studies.space.scales import Scale


def report_facts(engine: Engine, record: StudyRecord) -> dict[str, Any]:
    """Return everything that a report says of a study."""
    study = definition_of(record)
    # First: what is finished here has its curve in what is read later.
    found = standings(engine, record)
    trials, curves = read_trials(engine, record.study_id), read_curves(engine, record.study_id)
    times, events = read_times(engine, record.study_id), read_events(engine, record.study_id)
    progress = read_progress(engine, record, maximize=study.maximize)
    start = min((t.began for t in times.values()), default=record.created_at)
    told, scales = to_json(trial_summaries(study, trials)), study.scales()
    for fact, trial in zip(told, trials, strict=True):
        number = trial.slot.number
        when = times.get(number)
        fact["began"] = when and _since(start, when.began)
        fact["ended"] = when and when.ended and _since(start, when.ended)
        fact["curve"] = [[e.epoch, _finite(e.value(study.metric))] for e in curves.get(number, ())]
        fact["losses"] = [[_finite(e.training_loss), _finite(e.validation_loss)] for e in curves.get(number, ())]
        fact["zoom"] = trial.attributes.get("zoom")
        fact["units"] = {n: round(scales[n].unit(v), 4) for n, v in fact["hyperparameters"].items()}
    workers = read_workers(engine, record.study_id)
    importance = importances(study, found.trials)
    facts: dict[str, Any] = {
        "study": {
            "name": study.name, "model": study.model, "data": study.data, "metric": study.metric,
            "direction": study.direction, "epochs": study.epochs, "budget": progress.budget, "seed": study.seed,
            "strategy": study.strategy, "pruner": study.pruner, "state": state_of(progress), "prior": len(study.prior),
        },
        "hyperparameters": [hyperparameter_facts(*found) for found in study.hyperparameters()],
        "winner": to_json(read_winner(engine, record, found)),
        "runner_up": found.runner_up,
        "cost": {
            "done": progress.done, "complete": progress.complete, "pruned": progress.pruned,
            "failed": progress.failed, "diverged": progress.diverged, "abandoned": progress.abandoned,
            "epochs": progress.epochs_trained, "epochs_planned": progress.budget * study.epochs,
            "training_seconds": round(sum(e.seconds for curve in curves.values() for e in curve), 1),
            "wall_seconds": max((f["ended"] or 0.0 for f in told), default=0.0),
            "workers": len(workers), "hosts": len({w.host for w in workers}),
        },
        "trials": told,
        "importance": importance and importance_facts(importance),
        "events": [
            {"at": _since(start, e.at), "kind": e.kind, "trial": e.slot, "worker": e.worker, "detail": dict(e.detail)}
            for e in events
        ],
        "provenance": [
            {"version": v.version, "since": v.created_at.isoformat(timespec="seconds"), "changes": list(v.changes),
             "packages": dict(v.provenance.packages), "code": v.provenance.code, "data": v.provenance.data}
            for v in read_versions(engine, record.study_id)
        ],
        "machines": sorted({f"{w.host} ({w.device})" for w in workers}),
        "began": start.isoformat(timespec="seconds"), "now": _since(start, datetime.now(UTC)),
    }  # fmt: skip
    facts["answers"] = answers(facts)
    return facts


def hyperparameter_facts(name: str, tier: int, scale: Scale) -> dict[str, Any]:
    """Return everything that a report says of a hyperparameter, its scale's own fields among it."""
    shown = scale.model_dump(mode="json")
    first, last = scale.value(0.0), scale.value(1.0)
    return {"name": name, "tier": tier, "scale": str(scale), "first": first, "last": last,
            "discrete": scale.bins > 0, "room": _room(scale), **shown}  # fmt: skip


def _room(scale: Scale) -> list[bool]:
    """Return whether there are values below and above a scale's range, to be tried with `caviar retune --widen`."""
    wider = scale.widened()
    if wider is None:
        return [False, False]
    return [wider.value(0.0) != scale.value(0.0), wider.value(1.0) != scale.value(1.0)]


def _finite(value: float) -> float | None:
    return round(value, 6) if math.isfinite(value) else None


def _since(start: datetime, at: datetime) -> float:
    return round((at - start).total_seconds(), 2)
