"""Pandas in tests: one that is born, and the days that it lives through."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch
from sqlalchemy import Engine

from caviar.storage.records import Provenance, StudyRecord
from caviar.studies.api.session import settings_of
from caviar.studies.lifecycle.manager import definition_of
from caviar.studies.panda.birth import begin
from caviar.studies.panda.length import DayLength
from caviar.studies.panda.planning import next_day
from caviar.studies.panda.train import train
from caviar.studies.workers.context import WorkerContext
from caviar.studies.workers.local.options import WorkerOptions
from caviar.studies.workers.local.signals import Stop
from caviar.studies.workers.trial.build import Bench
from tests.helpers.studies import small_study
from tests.helpers.workers import digits, register_process

STUDY = small_study(name="base", epochs=3)


SETTINGS: dict[str, Any] = {"batch_size": 256, "learning_rate": 0.5}


def context_of(engine: Engine, record: StudyRecord, stop: Stop | None = None, cohort: int = 1) -> WorkerContext:
    study = small_study(**{**record.body, "tiers": STUDY.tiers})
    order = WorkerOptions(settings_of(engine), record.name, Path("nowhere"), cohort=cohort)
    return WorkerContext(
        engine,
        record,
        study,
        register_process(engine, record),
        Bench(torch.device("cpu"), digits()),
        stop or Stop(),
        order,
    )


def born(engine: Engine, name: str = "baby", **given: Any) -> StudyRecord:
    day, keep_all = DayLength(given.pop("epochs", 2), given.pop("seconds", None)), given.pop("keep_all", False)
    record = begin(engine, STUDY, name, {**SETTINGS, **given}, Provenance(), day, keep_all=keep_all)
    train(context_of(engine, record))
    return record


def days(engine: Engine, record: StudyRecord, count: int = 1, context: WorkerContext | None = None, **how: Any) -> None:
    for _ in range(count):
        train(context or context_of(engine, record), partial(next_day, study=definition_of(record)), **how)
