"""Train the trials of a study in this process: by a program of the user's own, which leases one after the other."""

from __future__ import annotations

import os
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
from caviar.studies.definition import Study, change
from caviar.studies.errors import OptionError
from caviar.studies.lifecycle.loader import select_stored
from caviar.studies.lifecycle.manager import progress
from caviar.studies.way import Way
from caviar.studies.workers.local.devices import processes_of_program, visible_gpus
from caviar.studies.workers.local.events import Listener, ignore
from caviar.studies.workers.local.options import WorkerOptions
from caviar.studies.workers.local.patience import reported_outage
from caviar.studies.workers.local.preparation import begin_or_resume
from caviar.studies.workers.local.signals import Stop

if TYPE_CHECKING:
    from caviar.studies.workers.user.caller import Caller
    from caviar.studies.workers.user.ranks import Ranks
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
    worker lost goes on here. An error that leaves the loop gives its trial back. PyTorch uses one thread, as in every
    worker: with more, a trial that goes on elsewhere would differ in its last digits.

    A program that torchrun or srun starts as several processes, of a study with that many `gpus`, gets the same trials
    in all of them. The first process is the worker; only that one uses the database. `torch.distributed` is initialised
    unless it is already.

    Args:
        study: a definition with `train=`, its file, or its name, as for `run`.
        device: to train on, such as `cuda:1`; None for the GPU of this process, by LOCAL_RANK, or else the CPU.
        budget, name, accept, on_event, lease, renew, grace, patience: as for `run`.

    Yields:
        A trial. The body of the loop builds what it trains, and loops over `trial.epochs()`.

    Raises:
        OptionError: the study is not one of a `train=` function, or has another number of `gpus` than the program has
            processes.
        CaviarError: as `run` does.

    Examples:
        >>> for trial in caviar.lease_trials("tune.py"):
        ...     train(trial)
    """
    where = device or (f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if visible_gpus() else "cpu")
    ranks = _meet(where) if processes_of_program() > 1 else None
    if ranks is not None and ranks.rank:
        with Stop(grace):  # rank 0 hears the signal, too, and says when to end
            yield from _follow(ranks, where)
        return
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
        if max(definition.gpus, 1) != processes_of_program():
            raise OptionError(
                f"'{definition.name}' has gpus={definition.gpus}, and this program has {processes_of_program()} "
                f"process(es): start it by torchrun --nproc-per-node {max(definition.gpus, 1)}, or change gpus="
            )
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

        def work(caller: Caller) -> None:
            Worker(begin_work(engine, record, options, where, stop, caller=caller)).run()

        try:
            yield from Caller(work, ranks).trials(stop.ask)
        finally:
            if ranks is not None:
                ranks.tell_all_is_over()
        if stop.interrupted:
            raise KeyboardInterrupt
        now = outage.insist(partial(progress, engine, record))
        if now.done == now.budget:
            measure_winner(engine, record, options, stop, outage)


def _meet(device: str) -> Ranks:
    import torch

    from caviar.studies.workers.user.ranks import meet

    return meet(torch.device(device))


def _follow(ranks: Ranks, device: str) -> Iterator[Trial]:
    import torch

    from caviar.studies.workers.user.following import follow

    return follow(ranks, torch.device(device))
