"""A study's life outside its workers: begun or gone on with, freed of dead workers, and concluded with its test."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from sqlalchemy import Engine

from storage.checkpoints import CheckpointStore
from storage.definitions import find_study, register_study, set_control
from storage.ledger import leases_on, release_dead
from storage.processes import is_alive, machine_id
from storage.records import Progress, SlotRecord, StudyRecord
from storage.status import read_best, read_progress, read_test, write_test
from studies import host
from studies.definition import Study, differences, from_body, to_body
from studies.errors import DefinitionChanged
from studies.plan import plan


def open_study(engine: Engine, study: Study) -> StudyRecord:
    """Begin a study, or go on with the one of the same name and definition; a paused one is resumed.

    Raises:
        DefinitionChanged: the database has a study of that name with another definition; nothing was changed.
        ForeignStudy: Optuna's tables hold a study of that name which Caviar did not make.
    """
    record = find_study(engine, study.name) or register_study(
        engine,
        study.name,
        maximize=study.maximize,
        body=to_body(study),
        packages=host.package_versions(),
        slots=[SlotRecord(slot.number, slot.tier, slot.phase, slot.free) for slot in plan(study)],
    )
    changed = differences(record.body, to_body(study))
    if changed:
        raise DefinitionChanged(
            f"a study '{study.name}' is in the database with another definition ({'; '.join(changed)}); "
            f"run this one under a new name: --name {study.name}-2, or go on with that one: give its values"
        )
    set_control(engine, record.study_id, "run")
    return record


def definition_of(record: StudyRecord) -> Study:
    """Return the definition that a study was registered with."""
    return from_body(record.body)


def free_dead_workers(engine: Engine, record: StudyRecord, known_dead: Iterable[int] = ()) -> int:
    """Open the slots whose workers on this machine are dead, so that nobody waits for their leases; return how many."""
    machine = machine_id()
    holders = leases_on(engine, record.study_id, machine)
    dead = {pid for pid in holders if pid in known_dead or not is_alive(pid)}
    return release_dead(engine, record.study_id, machine, dead) if dead else 0


def progress(engine: Engine, record: StudyRecord) -> Progress:
    """Return how far a study is."""
    return read_progress(engine, record, maximize=definition_of(record).maximize)


def conclude(engine: Engine, record: StudyRecord, data_dir: Path) -> None:
    """Measure the winner on the test set, once; does nothing where that was done, or where there is no winner.

    The model that is tested is the one that won: its weights were kept when its last epoch ended.
    """
    study = definition_of(record)
    best = read_best(engine, record.study_id, maximize=study.maximize)
    if best is None or read_test(engine, record.study_id, best.slot.number) is not None:
        return
    import torch

    from models.data import load, load_test
    from models.training import evaluate
    from studies.assembly import THREADS
    from studies.resumption import load_checkpoint, resume

    torch.set_num_threads(THREADS)  # if it must be trained again, then as it was
    store = CheckpointStore(engine, record.study_id)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    values = study.values(best.parameters)
    data = load(study.data, data_dir, device)
    training, _ = resume(study, best.slot.number, values, data, load_checkpoint(store, best.slot.number))
    for _ in training.epochs(study.epochs):  # none are left, unless its weights are lost: then it is trained again
        pass
    loss, accuracy = evaluate(training.model, load_test(study.data, data_dir, device))
    write_test(engine, record.study_id, best.slot.number, loss, accuracy)
    store.keep_only(best.slot.number)
