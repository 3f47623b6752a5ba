"""Begin a study, resume it, extend it, and free it of dead workers."""

from __future__ import annotations

from sqlalchemy import Engine

from caviar.storage.control import set_control
from caviar.storage.definitions import find_study, load_study, register_study
from caviar.storage.events import record_event
from caviar.storage.losses import leases_on, reap, release_dead
from caviar.storage.pandas import is_panda
from caviar.storage.processes import is_alive, machine_id
from caviar.storage.records import Provenance, Slot, StudyRecord
from caviar.storage.revisions import read_versions, revise_study
from caviar.storage.snapshot import Snapshot, read_snapshot
from caviar.storage.states import EventKind
from caviar.storage.status import Progress, read_progress
from caviar.studies.definition import Study, change, from_body, to_body
from caviar.studies.errors import DefinitionChanged, NotComparable
from caviar.studies.lifecycle.provenance import compare as compare_provenance
from caviar.studies.lifecycle.provenance import refuse_fatal
from caviar.studies.lifecycle.revision import Revision, compare, rewrite, with_prior
from caviar.studies.search.plan import plan


def open_study(
    engine: Engine, study: Study, provenance: Provenance | None = None, *, accept: bool = False
) -> StudyRecord:
    """Begin a study, or go on with the one of the same name; one that is paused or stopped is resumed.

    Args:
        study: an earlier version of the definition goes on with the current one; without a prior it has that of the
            study.
        provenance: what this machine computes with; None leaves that unchecked.
        accept: make `study` the next version of the definition, where the trials stay comparable.

    Raises:
        DefinitionChanged: the definition or the code is another one, and that was not accepted; nothing was changed.
        NotComparable: the trials there are could not be compared with those to come; nothing was changed.
        MachineMismatch: this machine has another major version of Optuna.
        ForeignStudy: Optuna's tables hold a study of that name which Caviar did not make.
    """
    record = find_study(engine, study.name)
    if record is None:
        slots = _slots(study)
        record = register_study(
            engine, study.name, maximize=study.maximize, body=to_body(study),
            provenance=provenance or Provenance(), slots=slots,
        )  # fmt: skip
    refuse_panda(engine, record)
    current = definition_of(record)
    inherits = bool(current.prior) and not study.prior  # a file does not have it
    revision = compare(from_body({**to_body(current), "prior": []}) if inherits else current, study)
    next_one = with_prior(study, current) if inherits and not revision.refused else study
    if revision.changes and _was_before(engine, record, study):
        revision, next_one = Revision(), current
    others = compare_provenance(record.provenance, provenance) if provenance else []
    refuse_fatal(others)
    for found in others:
        if found.weight == "mismatch":
            told = revision.refused if found.what == "data" else revision.comparable
            told.append(f"{found.what}: {found.there} before, {found.here} now")
    if revision.refused:
        raise NotComparable(
            f"a study '{study.name}' is in the database, whose trials could not be compared with this one's "
            f"({'; '.join(revision.changes)}); run this one under a new name: --name {study.name}-2"
        )
    if revision.comparable:
        if not accept and not _has_nothing_to_compare(engine, record):
            raise DefinitionChanged(
                f"a study '{study.name}' is in the database with another definition "
                f"({'; '.join(revision.comparable)}); its trials stay comparable: make this its new version with "
                f"--accept, go on with that one with caviar join {study.name}, or run this one under a new name: "
                f"--name {study.name}-2"
            )
        if not _revise(engine, record, next_one, provenance, revision):
            return open_study(engine, study, provenance)  # the same as somebody else's, or to be accepted anew
        record = load_study(engine, study.name)
    notes = {d.what: f"{d.there} there, {d.here} here" for d in others if d.weight == "note"}
    if notes:
        record_event(engine, record.study_id, EventKind.OTHER_VERSIONS, **notes)
    set_control(engine, record.study_id, "run")
    return record


def _has_nothing_to_compare(engine: Engine, record: StudyRecord) -> bool:
    """Return True if no trial has a result yet: then any change is free, such as a mended model."""
    now = progress(engine, record)
    return now.complete + now.pruned + now.leased + now.epochs_trained == 0


def _was_before(engine: Engine, record: StudyRecord, study: Study) -> bool:
    """Return True if a study is an earlier version of the definition: then the current one is meant."""
    versions = read_versions(engine, record.study_id) if record.version > 1 else []
    return any(not compare(from_body(version.body), study).changes for version in versions)


def extend_study(engine: Engine, record: StudyRecord, budget: int) -> StudyRecord:
    """Give a study a larger budget: a new version of its definition, and more slots.

    Raises:
        NotComparable: the budget is not larger.
        StudyNotFound: it was deleted meanwhile.
    """
    refuse_panda(engine, record)
    while True:
        before = definition_of(record)
        if budget <= before.budget:
            raise NotComparable(
                f"'{record.name}' has a budget of {before.budget} trials already; give more than that, "
                f"or end it early with: caviar stop {record.name}"
            )
        after = change(before, budget=budget)
        revised = _revise(engine, record, after, None, compare(before, after))
        record = load_study(engine, record.name)
        if revised:  # if not, somebody else was quicker
            return record


def _revise(
    engine: Engine, record: StudyRecord, after: Study, provenance: Provenance | None, revision: Revision
) -> bool:
    before = definition_of(record)
    return revise_study(
        engine, record, to_body(after), provenance or record.provenance, revision.comparable, _slots(after),
        (lambda stored: rewrite(before, after, stored)) if revision.rewrites else None,
    )  # fmt: skip


def _slots(study: Study) -> list[Slot]:
    return plan(study)


def refuse_panda(engine: Engine, record: StudyRecord) -> None:
    """Refuse to search with a study that is one model.

    Raises:
        NotComparable: it is.
    """
    if is_panda(engine, record.study_id):
        raise NotComparable(
            f"'{record.name}' is a panda, one model that is babysat; train it with: caviar panda train {record.name}"
        )


def definition_of(record: StudyRecord) -> Study:
    """Return the current definition of a study."""
    return from_body(record.body)


def free_dead_workers(engine: Engine, record: StudyRecord) -> int:
    """Open the slots whose workers on this machine are dead, so that nobody waits for their leases; return how many."""
    machine = machine_id()
    holders = leases_on(engine, record.study_id, machine)
    dead = {pid for pid in holders if not is_alive(pid)}
    return release_dead(engine, record.study_id, machine, dead) if dead else 0


def free_lost(engine: Engine, record: StudyRecord) -> int:
    """Open the slots whose leases expired, wherever their workers are; return how many."""
    with engine.begin() as connection:
        return reap(connection, record.study_id)


def progress(engine: Engine, record: StudyRecord) -> Progress:
    """Return how far a study is."""
    return read_progress(engine, record, maximize=definition_of(record).maximize)


def look(engine: Engine, record: StudyRecord) -> Snapshot:
    """Return how far a study is, and what happens in it."""
    return read_snapshot(engine, record, maximize=definition_of(record).maximize)
