"""Find what killed workers and ended trials left behind, and remove it where nobody can need it.

A worker that reaches its files but not the database may come back, take its lease again and name a file that the
database does not know yet: nothing of a study is removed while any worker of it may be alive.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import groupby

from sqlalchemy import Engine

from caviar.storage import health
from caviar.storage.checkpoints import CheckpointStore
from caviar.storage.definitions import find_study, load_studies
from caviar.storage.errors import CheckpointNotRemoved
from caviar.storage.files import CheckpointFiles, checkpoint_key
from caviar.storage.losses import free_lost
from caviar.storage.pandas import is_panda
from caviar.storage.processes import is_alive, machine_id
from caviar.storage.records import StudyRecord
from caviar.storage.settings import Settings
from caviar.storage.status import read_progress
from caviar.storage.unsent import UnsentFile, unsent_files
from caviar.studies.doctor.database import is_gone, unfinished
from caviar.studies.findings import Finding, Level, format_size
from caviar.studies.lifecycle.manager import free_dead_workers
from caviar.studies.results.winner import standings
from caviar.text import one_line

_MEND = "caviar doctor --fix"
_DAY = 86_400.0  # seconds after which nobody waits for a trial that was made by hand


def leases(engine: Engine) -> list[Finding]:
    """Find trials that wait for a worker which will not come back."""
    leased = health.read_leases(engine)
    findings = []
    for name, of_study in groupby(leased, key=lambda lease: lease.study):
        lost = [lease for lease in of_study if lease.expired or _died_here(lease)]
        if lost:
            message = f"{len(lost)} trial(s) of '{name}' wait for workers that died, or lost the database"
            findings.append(Finding(Level.WARNING, "leases", message, _MEND, partial(_take_back, engine, name)))
    return findings or [Finding(Level.OK, "leases", f"{len(leased)} held, none lost")]


def _died_here(lease: health.HeldLease) -> bool:
    return lease.machine == machine_id() and lease.pid is not None and not is_alive(lease.pid)


def _take_back(engine: Engine, name: str) -> str:
    record = find_study(engine, name)
    count = free_dead_workers(engine, record) + free_lost(engine, record) if record is not None else 0
    return f"{count} trial(s) of '{name}' are taken back from workers that died"


def workers(engine: Engine) -> list[Finding]:
    """Find workers that ended without recording it."""
    present = health.open_workers(engine)
    gone = [worker for worker in present if is_gone(worker)]
    if not gone:
        return [Finding(Level.OK, "workers", f"{len(present)} at work, none lost")]

    def mend() -> str:
        health.close_workers(engine, gone)
        return f"{len(gone)} worker(s) are written down as ended"

    ends = Counter((worker.host, worker.why or "it ended without a word") for worker in gone)
    message = "; ".join(f"{count} on {host}: {why}" for (host, why), count in ends.items())
    return [Finding(Level.WARNING, "workers", f"{len(gone)} died: {message}", _MEND, mend)]


def trials(engine: Engine) -> list[Finding]:
    """Find trials that nobody will end, and those that were given up."""
    zombies = sorted(health.read_zombies(engine), key=_study_and_mendable)
    findings = [_zombies(engine, list(alike)) for _, alike in groupby(zombies, key=_study_and_mendable)]
    for study in health.read_studies(engine):
        if study.abandoned:
            numbers = ", ".join(map(str, study.abandoned))
            message = f"trial(s) {numbers} of '{study.name}' were given up: each lost its workers again and again"
            step = f"caviar history {study.name} says why; if it was memory, narrow its ranges or start fewer workers"
            findings.append(Finding(Level.OK if study.done else Level.WARNING, "trials", message, step))
        if study.others.made:
            findings.append(_others(study, is_panda(engine, study.study_id)))
    for name in health.deleted_studies(engine):
        message = f"those of '{name}' were deleted by another Optuna program; its checkpoints are still here"
        findings.append(Finding(Level.WARNING, "trials", message, f"caviar delete {name}"))
    return findings or [Finding(Level.OK, "trials", "none that nobody will end, none given up")]


def _others(study: health.StudySlots, is_panda: bool) -> Finding:
    made, waiting = study.others.made, study.others.waiting
    message = f"{made} in '{study.name}' were made by other Optuna programs, and are not counted in its budget"
    if not waiting:
        return Finding(Level.OK, "trials", message)
    message += f"; {waiting} of them wait to be trained"
    if is_panda:
        return Finding(Level.WARNING, "trials", f"{message}, which no day of a panda does")
    if study.done:
        step = f"give it more trials: caviar extend {study.name} --budget N"
        return Finding(Level.WARNING, "trials", f"{message}, and it is done", step)
    return Finding(Level.OK, "trials", message)


def _study_and_mendable(zombie: health.Zombie) -> tuple[str, bool]:
    return zombie.study, zombie.has_slot or zombie.age > _DAY


def _zombies(engine: Engine, zombies: Sequence[health.Zombie]) -> Finding:
    name, mendable = _study_and_mendable(zombies[0])
    subject = f"{len(zombies)} trial(s) of '{name}' ({', '.join(str(zombie.number) for zombie in zombies)})"
    if not mendable:
        step = f"end them where they were made; a day after they began, {_MEND} does"
        return Finding(Level.WARNING, "trials", f"{subject} were made with Optuna alone, and run", step)

    def mend() -> str:
        for zombie in zombies:
            health.end_zombie(engine, zombie)
        return f"{subject} are ended, as failed"

    return Finding(Level.WARNING, "trials", f"{subject} seem to run, and nobody trains them", _MEND, mend)


def checkpoints(engine: Engine) -> list[Finding]:
    """Find states that are not kept, and checkpoints of finished studies other than the winner's.

    Those of a panda are days to go back to.
    """
    findings = list(_unkept(engine))
    for study in health.read_studies(engine):
        record = find_study(engine, study.name) if study.done else None
        if record is None or not health.spent_checkpoints(engine, record.study_id, -1):
            continue
        if is_panda(engine, record.study_id):
            continue
        best = standings(engine, record).winner
        winner = best.trial if best else -1
        if spent := health.spent_checkpoints(engine, record.study_id, winner):
            message = f"{spent} checkpoint(s) of '{record.name}', which is done, are not the winner's"
            mend = partial(_keep_only, engine, record, winner)
            findings.append(Finding(Level.WARNING, "checkpoints", message, _MEND, mend))
    count, size = health.checkpoint_size(engine)
    return findings or [Finding(Level.OK, "checkpoints", f"{count} in the database, {format_size(size)}")]


def _unkept(engine: Engine) -> Iterator[Finding]:
    for record in unfinished(engine):
        reason = read_progress(engine, record, maximize=True).unkept
        if reason is not None:
            why, _, step = one_line(reason).partition("; ")
            yield Finding(Level.WARNING, "checkpoints", f"states of '{record.name}' are not kept: {why}", step)


def _keep_only(engine: Engine, record: StudyRecord, winner: int) -> str:
    CheckpointStore(engine, record).keep_only(winner)
    return f"the checkpoints of '{record.name}' are removed, but for the winner's"


def files(engine: Engine, settings: Settings) -> list[Finding]:
    """Find checkpoint files that the database does not name.

    The files are listed first, then the studies in use, then the names. So a file that a worker is about to name is
    not listed yet, or its study is in use, or it has its name.

    Raises:
        BadCheckpointsAddress: they cannot be listed.
    """
    if settings.checkpoints is None:
        count = len(health.checkpoint_addresses(engine))
        unseen = f"not looked for, without CAVIAR_CHECKPOINTS: {count} are named by the database"
        return [Finding(Level.OK, "files", unseen if count else "none that the database names")]
    place = CheckpointFiles(settings.checkpoints)
    there = list(place.list())
    records = _by_label(engine)
    # Studies that somebody works on, or may come back to: workers that are gone were written down so.
    in_use = {study.study_id for study in health.read_studies(engine) if study.leased}
    in_use |= {worker.study_id for worker in health.open_workers(engine)}
    named = {checkpoint_key(address) for address in health.checkpoint_addresses(engine)}
    unnamed = sorted((checkpoint_key(a)[0], a, size) for a, size in there if checkpoint_key(a) not in named)
    findings = []
    for label, group in groupby(unnamed, key=lambda file: file[0]):
        addresses, sizes = zip(*((address, size) for _, address, size in group), strict=True)
        message = f"{len(addresses)} file(s), {format_size(sum(sizes))}"
        if label not in records:
            step = f"if no other database has that study, remove the folder: {addresses[0].rpartition('/')[0]}"
            message += f" of '{label}', which is not in this database"
            findings.append(Finding(Level.WARNING, "files", message, step))
        elif records[label].study_id not in in_use:
            message += f" of '{records[label].name}' that the database does not name"
            findings.append(
                Finding(Level.WARNING, "files", message, _MEND, partial(_remove, place, addresses, message))
            )
    total = f"{len(there)} at {settings.checkpoints}, {format_size(sum(size for _, size in there))}"
    return findings or [Finding(Level.OK, "files", total)]


def _remove(place: CheckpointFiles, addresses: Sequence[str], message: str) -> str:
    failure = None
    for address in addresses:
        try:
            place.remove(address)
        except CheckpointNotRemoved as error:
            failure = error  # the others are removed nevertheless
    if failure is not None:
        raise failure
    return f"{message} are removed"


def unsent(engine: Engine, settings: Settings) -> list[Finding]:
    """Find states of trials that workers of this machine wrote to its disk while the database was away."""
    records = _by_label(engine)
    findings = []
    for label, group in groupby(unsent_files(settings.home), key=lambda file: file.label):
        states = list(group)
        if label in records:
            findings += _unsent_of(engine, records[label], states)
            continue
        message = f"{len(states)} state(s) of '{label}', which is not in this database"
        step = f"if no other database has that study, remove them: {states[0].path.parent}/{label}-*"
        findings.append(Finding(Level.WARNING, "unsent", message, step))
    return findings or [Finding(Level.OK, "unsent", "nothing that the database lacks")]


def _unsent_of(engine: Engine, record: StudyRecord, files: Sequence[UnsentFile]) -> list[Finding]:
    states = health.slot_states(engine, record.study_id)
    files = [file for file in files if file.writer is None or not is_alive(file.writer)]
    spent = [file for file in files if states.get(file.slot) not in ("open", "leased")]
    wanted = sorted({file.slot for file in files if file.writer is None and file not in spent})
    findings = []
    if wanted:
        message = f"trial(s) {', '.join(map(str, wanted))} of '{record.name}' got further here than the database knows"
        findings.append(Finding(Level.OK, "unsent", message, f"go on with: caviar join {record.name}"))
    if spent:
        ended = f"{len(spent)} state(s) of trials of '{record.name}' that have ended"

        def mend() -> str:
            for file in spent:
                file.path.unlink(missing_ok=True)
            return f"{ended} are removed"

        findings.append(Finding(Level.WARNING, "unsent", ended, _MEND, mend))
    return findings


def _by_label(engine: Engine) -> dict[str, StudyRecord]:
    return {record.label: record for record in load_studies(engine)}
