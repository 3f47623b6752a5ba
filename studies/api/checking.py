"""Try a study's training before it is searched."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from caviar.studies.api.session import data_folder, settings_of
from caviar.studies.check.report import CheckReport
from caviar.studies.check.run import Check
from caviar.studies.definition import Study, change
from caviar.studies.lifecycle.loader import select_study
from caviar.studies.workers.local.devices import check_workers, cores, visible_gpus
from caviar.studies.workers.local.options import read_duration
from caviar.studies.workers.local.pool import WorkerPool
from caviar.studies.workers.local.preparation import check_and_fetch


def check(
    study: Study | str | Path,
    *,
    workers: int | None = None,
    device: str | None = None,
    epoch_timeout: float | str | None = None,
    on_step: Callable[[str], None] = lambda step: None,  # noqa: ARG005
    data_dir: str | Path | None = None,
) -> CheckReport:
    """Try a study before it is searched: whether it resumes exactly, what breaks it, and what it costs.

    It trains three epochs with every hyperparameter at its default, goes on from the state after the first one in
    another process, which must give the second one again to the last bit, and trains one epoch at each end of each
    range. Each of these runs in a process of its own, so a crash is one of the findings. No database is needed, and
    nothing is written but what the training writes.

    Args:
        study: a definition, its file, `package.module:NAME`, or a name of the catalog.
        workers: workers that the cost is told for; None for one on each core.
        device: to train on, such as `cuda:1`; None for the first GPU, or else the CPU.
        epoch_timeout: instead of the study's own, how long an epoch may go without a batch before the training counts
            as hung, which is a finding: seconds, or a text such as `90s` or `30min`. None for that of the study, or
            else ten times the longest epoch so far, but at least 5 minutes, and an hour before the first.
        on_step: called with what is tried next, in a few words.

    Raises:
        UnknownStudy: nothing has that name.
        DefinitionError: the definition is not valid, or names code that is not here.
        OptionError: `epoch_timeout` is no duration.

    Examples:
        >>> [finding.message for finding in caviar.check("tune.py").findings if finding.level == "error"]
    """
    check_workers(1 if workers is None else workers)
    given = read_duration("epoch-timeout", epoch_timeout)
    WorkerPool.warm_up()
    definition = study if isinstance(study, Study) else select_study(str(study))
    folder, settings = data_folder(data_dir), settings_of()
    check_and_fetch(definition, folder)
    where = device or ("cuda:0" if visible_gpus() else "cpu")
    keeps_files = settings.checkpoints is not None or settings.database_url is None
    timeout = given or definition.epoch_timeout
    return Check(change(definition), where, folder, keeps_files, timeout, on_step).run(workers or cores())
