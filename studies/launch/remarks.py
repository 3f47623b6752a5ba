"""What whoever launches workers should know before they begin: that they would wait, or refuse the code here."""

from __future__ import annotations

from caviar.storage.records import StudyRecord
from caviar.studies.errors import CodeMissing
from caviar.studies.launch.scheduler import SchedulerKind
from caviar.studies.launch.site import Site
from caviar.studies.lifecycle.manager import definition_of
from caviar.studies.lifecycle.provenance import code_change, code_of
from caviar.studies.results.summaries import StudyState


def remarks_on(record: StudyRecord, state: StudyState, kind: SchedulerKind, site: Site) -> tuple[str, ...]:
    """Return what keeps workers of a study from training, though they can be launched; empty if nothing is known."""
    name, found = record.name, list[str]()
    if state == StudyState.PAUSED:
        found.append(f"'{name}' is paused, and its workers wait until: caviar resume {name}")
    if _begins_here(kind, site) and (why := _other_code(record)):
        found.append(
            f"the code in this folder is not that of '{name}', and a worker that begins here refuses it: {why}"
        )
    return tuple(found)


def _begins_here(kind: SchedulerKind, site: Site) -> bool:
    """Return whether tasks begin with the code of this folder, which is to be the study's."""
    here = kind is SchedulerKind.SLURM or (kind is SchedulerKind.RAY and site.ray.folder == ".")
    return here and "--allow-mismatch" not in site.worker.options


def _other_code(record: StudyRecord) -> str:
    """Say how the code here differs from the study's, without running it; empty if it does not."""
    try:
        return code_change(record.provenance, code_of(definition_of(record)))
    except CodeMissing as error:
        return str(error)
