"""Warnings before a launch: the study is paused, or the code here is not the study's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from caviar.storage.records import StudyRecord
from caviar.studies.errors import CodeMissing
from caviar.studies.launch.scheduler import SchedulerKind
from caviar.studies.launch.site import Site
from caviar.studies.lifecycle.manager import definition_of
from caviar.studies.lifecycle.provenance import code_change, code_of
from caviar.studies.results.summaries import StudyState
from caviar.studies.workers.local.preparation import find_user_modules

_MISMATCH = "--allow-mismatch"  # with which a worker trains other code


def remarks_on(record: StudyRecord, state: StudyState, kind: SchedulerKind, site: Site) -> tuple[str, ...]:
    """Return what would keep launched workers of a study from training; empty if nothing is known."""
    name, remarks = record.name, list[str]()
    if state == StudyState.PAUSED:
        remarks.append(f"'{name}' is paused, and its workers wait until: caviar resume {name}")
    if _MISMATCH not in site.worker.options and _begins_here(kind, site) and (why := _other_code(record, site)):
        remarks.append(f"the code here is not that of '{name}', and a worker with it would refuse to train: {why}")
    return tuple(remarks)


def _begins_here(kind: SchedulerKind, site: Site) -> bool:
    """Return whether tasks begin with the code of this folder; Kubernetes' have that of their image."""
    if kind is SchedulerKind.SLURM:
        return not any(line.split()[:1] == ["cd"] for line in site.worker.setup)
    return kind is SchedulerKind.RAY and bool(site.ray.folder) and Path(site.ray.folder).resolve() == Path.cwd()


def _other_code(record: StudyRecord, site: Site) -> str:
    """Say how the code here differs from the study's, without running it; empty if it does not."""
    find_user_modules()
    try:
        here = code_of(definition_of(record))
    except CodeMissing as error:
        return str(error)
    if site.worker.command or site.worker.setup:  # perhaps another environment, with a Caviar of its own
        here = replace(here, code=record.provenance.code)
    return code_change(record.provenance, here)
