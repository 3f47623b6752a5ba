"""Find what killed workers and ended trials left behind, and remove it where nobody can need it.

A worker that reaches its files but not the database may come back, take its lease again and name a file that the
database does not know yet: nothing of a study is removed while any worker of it may be alive.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from itertools import groupby

from sqlalchemy import Engine

from caviar.storage import health
from caviar.storage.checkpoints import CheckpointStore
from caviar.storage.definitions import find_study, load_studies
from caviar.storage.errors import CheckpointNotRemoved
from caviar.storage.files import CheckpointFiles, checkpoint_key, remove_file
from caviar.storage.losses import LIMIT
from caviar.storage.pandas import is_panda
from caviar.storage.processes import is_alive, machine_id
from caviar.storage.records import StudyRecord
from caviar.storage.settings import Settings
from caviar.storage.unsent import UnsentFile, unsent_files
from caviar.studies.doctor.database import is_gone
from caviar.studies.doctor.findings import Finding, Level, size_told
from caviar.studies.lifecycle.manager import free_dead_workers, free_lost
from caviar.studies.results.winner import find_winner

_MEND = "caviar doctor --fix"
_DAY = 86_400.0  # seconds after which nobody waits for a trial that was made by hand


def leases(engine: Engine) -> list[Finding]:
    """Look for trials that wait for a worker which will not come back."""
    held = health.read_leases(engine)
    found = []
    for name, of_study in groupby(held, key=lambda lease: lease.study):
        lost = [lease for lease in of_study if lease.expired or _died_here(lease)]
        if lost:
            told = f"{len(lost)} trial(s) of '{name}' wait for workers that died, or lost the database"
            found.append(Finding(Level.WARNING, "leases", told, _MEND, partial(_take_back, engine, name)))
    return found or [Finding(Level.OK, "leases", f"{len(held)} held, none lost")]


def _died_here(lease: health.HeldLease) -> bool:
    return lease.machine == machine_id() and lease.pid is not None and not is_alive(lease.pid)


def _take_back(engine: Engine, name: str) -> str:
    record = find_study(engine, name)
    taken = free_dead_workers(engine, record) + free_lost(engine, record) if record is not None else 0
    return f"{taken} trial(s) of '{name}' are taken back from workers that died"


def workers(engine: Engine) -> list[Finding]:
    """Look for workers that ended without a word."""
    there = health.open_workers(engine)
    gone = [worker for worker in there if is_gone(worker)]
    if not gone:
        return [Finding(Level.OK, "workers", f"{len(there)} at work, none lost")]

    def mend() -> str:
        health.close_workers(engine, gone)
        return f"{len(gone)} worker(s) are written down as ended"

    hosts = ", ".join(f"{count} on {host}" for host, count in Counter(worker.host for worker in gone).items())
    return [Finding(Level.WARNING, "workers", f"{len(gone)} ended without a word: {hosts}", _MEND, mend)]


def trials(engine: Engine) -> list[Finding]:
    """Look for trials that nobody will end, and for those that were given up."""
    zombies = sorted(health.read_zombies(engine), key=_study_and_mendable)
    found = [_zombies(engine, list(alike)) for _, alike in groupby(zombies, key=_study_and_mendable)]
    for study in health.read_studies(engine):
        if study.abandoned:
            numbers = ", ".join(map(str, study.abandoned))
            told = f"trial(s) {numbers} of '{study.name}' were given up: each lost {LIMIT} workers in a row"
            step = f"caviar history {study.name}; if it is memory, narrow its ranges or start fewer workers"
            found.append(Finding(Level.OK if study.done else Level.WARNING, "trials", told, step))
    for name in health.deleted_studies(engine):
        told = f"those of '{name}' were deleted by another Optuna program; its checkpoints are still here"
        found.append(Finding(Level.WARNING, "trials", told, f"caviar delete {name}"))
    return found or [Finding(Level.OK, "trials", "none that nobody will end, none given up")]


def _study_and_mendable(zombie: health.Zombie) -> tuple[str, bool]:
    return zombie.study, zombie.has_slot or zombie.age > _DAY


def _zombies(engine: Engine, zombies: Sequence[health.Zombie]) -> Finding:
    name, mendable = _study_and_mendable(zombies[0])
    which = f"{len(zombies)} trial(s) of '{name}' ({', '.join(str(zombie.number) for zombie in zombies)})"
    if not mendable:
        step = f"end them where they were made; a day after they began, {_MEND} does"
        return Finding(Level.WARNING, "trials", f"{which} were made with Optuna alone, and run", step)

    def mend() -> str:
        for zombie in zombies:
            health.end_zombie(engine, zombie)
        return f"{which} are ended, as failed"

    return Finding(Level.WARNING, "trials", f"{which} seem to run, and nobody trains them", _MEND, mend)


def checkpoints(engine: Engine) -> list[Finding]:
    """Look for checkpoints of studies that are done, but for the winner's. Those of a panda are days to go back to."""
    found = []
    for study in health.read_studies(engine):
        record = find_study(engine, study.name) if study.done else None
        if record is None or not health.spent_checkpoints(engine, record.study_id, -1):
            continue
        if is_panda(engine, record.study_id):
            continue
        found_winner = find_winner(engine, record)
        winner = found_winner.trial if found_winner else -1
        spent = health.spent_checkpoints(engine, record.study_id, winner)
        if spent:
            told = f"{spent} checkpoint(s) of '{record.name}', which is done, are not the winner's"
            found.append(
                Finding(Level.WARNING, "checkpoints", told, _MEND, partial(_keep_only, engine, record, winner))
            )
    count, size = health.checkpoint_size(engine)
    return found or [Finding(Level.OK, "checkpoints", f"{count} in the database, {size_told(size)}")]


def _keep_only(engine: Engine, record: StudyRecord, winner: int) -> str:
    CheckpointStore(engine, record).keep_only(winner)
    return f"the checkpoints of '{record.name}' are removed, but for the winner's"


def files(engine: Engine, settings: Settings) -> list[Finding]:
    """Look for checkpoints' files that the database does not name.

    In this order: the files, who is at work, and which files have a name. So one that a worker is about to name is
    not listed, or its study is in use, or it has its name.

    Raises:
        BadCheckpointsAddress: they cannot be listed.
    """
    if settings.checkpoints is None:
        count = len(health.checkpoint_addresses(engine))
        told = f"not looked for, without CAVIAR_CHECKPOINTS: {count} are named by the database"
        return [Finding(Level.OK, "files", told)]
    there = list(CheckpointFiles(settings.checkpoints).list())
    records = _by_label(engine)
    in_use = _in_use(engine)
    named = {checkpoint_key(address) for address in health.checkpoint_addresses(engine)}
    unnamed = sorted((checkpoint_key(a)[0], a, size) for a, size in there if checkpoint_key(a) not in named)
    found = []
    for label, group in groupby(unnamed, key=lambda file: file[0]):
        of_label = [(address, size) for _, address, size in group]
        told = f"{len(of_label)} file(s), {size_told(sum(size for _, size in of_label))}"
        if label not in records:
            folder = of_label[0][0].rpartition("/")[0]
            step = f"if no other database has that study, remove the folder: {folder}"
            found.append(Finding(Level.WARNING, "files", f"{told} of '{label}', which is not in this database", step))
        elif records[label].study_id not in in_use:
            told += f" of '{records[label].name}' that the database does not name"
            found.append(Finding(Level.WARNING, "files", told, _MEND, partial(_remove, of_label, told)))
    whole = f"{len(there)} at {settings.checkpoints}, {size_told(sum(size for _, size in there))}"
    return found or [Finding(Level.OK, "files", whole)]


def _remove(addresses: Sequence[tuple[str, int]], told: str) -> str:
    failure = None
    for address, _ in addresses:
        try:
            remove_file(address)
        except CheckpointNotRemoved as error:
            failure = error  # others are not for that to stay
    if failure is not None:
        raise failure
    return f"{told} are removed"


def _in_use(engine: Engine) -> set[int]:
    """Return the studies that somebody works on, or may come back to: workers that are gone were written down so."""
    leased = {study.study_id for study in health.read_studies(engine) if study.leased}
    return leased | {worker.study_id for worker in health.open_workers(engine)}


def unsent(engine: Engine, settings: Settings) -> list[Finding]:
    """Look for states that workers of this machine kept while the database was away."""
    records = _by_label(engine)
    found = []
    for label, group in groupby(unsent_files(settings.home), key=lambda file: file.label):
        kept = list(group)
        if label not in records:
            told = f"{len(kept)} state(s) of '{label}', which is not in this database"
            step = f"if no other database has that study, remove them: {kept[0].path.parent}/{label}-*"
            found.append(Finding(Level.WARNING, "unsent", told, step))
        else:
            found += _unsent_of(engine, records[label], kept)
    return found or [Finding(Level.OK, "unsent", "nothing that the database lacks")]


def _unsent_of(engine: Engine, record: StudyRecord, kept: Sequence[UnsentFile]) -> list[Finding]:
    states = health.slot_states(engine, record.study_id)
    kept = [file for file in kept if file.writer is None or not is_alive(file.writer)]
    spent = [file for file in kept if states.get(file.slot) not in ("open", "leased")]
    wanted = sorted({file.slot for file in kept if file.writer is None and file not in spent})
    found = []
    if wanted:
        told = f"trial(s) {', '.join(map(str, wanted))} of '{record.name}' got further here than the database knows"
        found.append(Finding(Level.OK, "unsent", told, f"go on with: caviar join {record.name}"))
    if spent:
        told = f"{len(spent)} state(s) of trials of '{record.name}' that have ended"

        def mend() -> str:
            for file in spent:
                file.path.unlink(missing_ok=True)
            return f"{told} are removed"

        found.append(Finding(Level.WARNING, "unsent", told, _MEND, mend))
    return found


def _by_label(engine: Engine) -> dict[str, StudyRecord]:
    return {record.label: record for record in load_studies(engine)}
