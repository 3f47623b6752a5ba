"""Train the trials of a study in this process: by a program of the user's own, which leases one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Engine

from caviar.storage.engine import require_writable
from caviar.storage.timing import GRACE, LEASE, PATIENCE, RENEW
from caviar.studies.api.running import measure_winner
from caviar.studies.api.session import connect, data_folder, settings_of
from caviar.studies.dashboard.note import leave_note
from caviar.studies.definition import Study, Way, change
from caviar.studies.errors import OptionError
from caviar.studies.lifecycle.loader import select_stored
from caviar.studies.lifecycle.manager import progress
from caviar.studies.workers.local.devices import visible_gpus
from caviar.studies.workers.local.events import Listener, ignore
from caviar.studies.workers.local.options import WorkerOptions
from caviar.studies.workers.local.patience import reported_outage
from caviar.studies.workers.local.preparation import begin_or_resume
from caviar.studies.workers.local.signals import Stop

if TYPE_CHECKING:
    from caviar.studies.workers.user.caller import Caller
    from caviar.studies.workers.user.trial import Trial


def lease_trials(
    study: Study | str | Path,
    *,
    device: str | None = None,
    budget: int | None = None,
    name: str | None = None,
    accept: bool = False,
    on_event: Listener = ignore,
    lease: float = LEASE,
    renew: float = RENEW,
    grace: float = GRACE,
    patience: float = PATIENCE,
    database: str | Engine | None = None,
) -> Iterator[Trial]:
    """Yield the trials of a study, one after the other, to be trained in this process until its budget is spent.

    This process is one worker of the study, beside those of `run` and `join` on any machine. A trial that another
    worker lost goes on here. An error that leaves the loop gives its trial back.

    Args:
        study: a definition with `train=`, its file, or its name, as for `run`.
        device: to train on, such as `cuda:1`; None for the first GPU, or else the CPU.
        budget, name, accept, on_event, lease, renew, grace, patience: as for `run`.

    Yields:
        A trial. The body of the loop builds what it trains, and loops over `trial.epochs()`.

    Raises:
        OptionError: the study is not one of a `train=` function.
        CaviarError: as `run` does.

    Examples:
        >>> for trial in caviar.lease_trials("tune.py"):
        ...     train(trial)
    """
    settings = settings_of(database)
    with Stop(grace) as stop, connect(database, hurry=lambda: stop.asked) as engine:
        require_writable(engine)
        outage = reported_outage(settings, patience, lambda: stop.asked, on_event)
        given, stored = (
            (study, None) if isinstance(study, Study) else outage.insist(lambda: select_stored(engine, str(study)))
        )
        definition = change(given, budget=budget, name=name)
        if definition.way is not Way.TRAIN:
            raise OptionError(f"'{definition.name}' trains by {definition.way}=; a program leases trials of a train=")
        options = WorkerOptions(settings, definition.name, data_folder(), lease, renew, grace, patience)
        opened = outage.insist(
            lambda: begin_or_resume(
                engine, definition, options, stored=stored, accept=accept, in_processes=False, on_event=on_event
            )
        )
        record, options = opened.record, opened.options
        if opened.begun:
            leave_note(engine, record)
        from caviar.studies.workers.context import begin_work
        from caviar.studies.workers.user.caller import Caller
        from caviar.studies.workers.worker import Worker

        where = device or ("cuda:0" if visible_gpus() else "cpu")

        def work(caller: Caller) -> None:
            Worker(begin_work(engine, record, options, where, stop, caller=caller)).run()

        yield from Caller(work).trials(stop.ask)
        if stop.interrupted:
            raise KeyboardInterrupt
        now = outage.insist(partial(progress, engine, record))
        if now.done == now.budget:
            measure_winner(engine, record, options, stop, outage)
