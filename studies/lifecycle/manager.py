"""Begin a study, resume it, extend it, and free it of dead workers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sqlalchemy import Connection, Engine

from caviar.storage.control import set_control
from caviar.storage.definitions import find_study, load_study, register_study
from caviar.storage.events import log_event, record_event
from caviar.storage.family import Parent
from caviar.storage.losses import leases_on, release_dead
from caviar.storage.pandas import is_panda
from caviar.storage.processes import is_alive, machine_id
from caviar.storage.records import Provenance, StudyRecord, WorkerDeath
from caviar.storage.revisions import read_versions, revise_study, shorten_study
from caviar.storage.snapshot import Snapshot, read_snapshot
from caviar.storage.states import Control, EventKind
from caviar.storage.status import Progress, read_progress
from caviar.studies.definition import Study, change, from_body, to_body
from caviar.studies.errors import DefinitionChanged, NotComparable
from caviar.studies.lifecycle.provenance import Difference, code_change, origin, refuse_fatal
from caviar.studies.lifecycle.provenance import compare as compare_provenance
from caviar.studies.lifecycle.revision import Revision, compare, rewrite, with_prior
from caviar.studies.search.plan import plan
from caviar.studies.search.until import BUDGET


def open_study(
    engine: Engine, study: Study, provenance: Provenance | None = None, *, accept: bool = False,
    parent: Parent | None = None,
) -> StudyRecord:  # fmt: skip
    """Begin a study, or go on with the one of the same name; one that is paused or stopped is resumed.

    Args:
        study: an earlier version of the definition goes on with the current one; without a prior it has that of the
            study.
        provenance: what this machine computes with; None leaves that unchecked.
        accept: make `study` the next version of the definition, where the trials stay comparable or only the code
            differs.
        parent: the study that a new one was retuned from, for its history.

    Raises:
        DefinitionChanged: the definition or the code is another one, and that was not accepted; nothing was changed.
        NotComparable: the trials there are could not be compared with those to come; nothing was changed.
        MachineMismatch: this machine has another major version of Optuna.
        ForeignStudy: Optuna's tables hold a study of that name which Caviar did not make.
    """
    record = find_study(engine, study.name) or _register(engine, study, provenance or Provenance(), parent)
    refuse_panda(engine, record)
    revision, following = _next_version(engine, record, study)
    differences = compare_provenance(record.provenance, provenance) if provenance else []
    refuse_fatal(differences)
    if provenance is not None:
        _add_mismatches(revision, differences, code_change(record.provenance, provenance))
    _refuse_incomparable(record, revision)
    if revision.acceptable:
        if not accept:
            _refuse_unaccepted(engine, record, revision)
        if not _revise(engine, record, following, provenance, revision):
            return open_study(engine, study, provenance)  # the same as somebody else's, or to be accepted anew
        record = load_study(engine, study.name)
    if others := {d.what: f"{d.there} there, {d.here} here" for d in differences if d.weight == "note"}:
        record_event(engine, record.study_id, EventKind.OTHER_VERSIONS, **others)
    set_control(engine, record.study_id, Control.RUN)
    return record


def _register(engine: Engine, study: Study, provenance: Provenance, parent: Parent | None) -> StudyRecord:
    def also(connection: Connection, study_id: int) -> None:
        if parent is not None:
            log_event(connection, study_id, EventKind.RETUNED, **parent.detail)
        if study.data is not None and ":" in study.data:
            from caviar.models.own_data import sizes_read  # which loads PyTorch, as its data did

            if (sizes := sizes_read(study.data)) is not None:
                log_event(connection, study_id, EventKind.DATA_READ, **sizes._asdict())

    return register_study(
        engine, study.name, metric=study.metric, maximize=study.maximize, body=to_body(study), provenance=provenance,
        slots=plan(study), also=also,
    )  # fmt: skip


def _next_version(engine: Engine, record: StudyRecord, study: Study) -> tuple[Revision, Study]:
    """Return what changes if `study` becomes the next version of a definition, and that version, with its prior."""
    current = definition_of(record)
    inherits = bool(current.prior) and not study.prior  # a study's file does not have it
    revision = compare(change(current, prior=[]) if inherits else current, study)
    if revision.changes and _is_earlier_version(engine, record, study):
        return Revision(), current
    return revision, with_prior(study, current) if inherits and not revision.refused else study


def _add_mismatches(revision: Revision, differences: Iterable[Difference], code: str) -> None:
    """Count other code as a change that only a person can judge, and other data as one that is refused."""
    revision.refused += [f"data: {d.there} before, {d.here} now" for d in differences if d.what == "data"]
    if code:
        revision.code.append(f"code: {code}")


def _refuse_incomparable(record: StudyRecord, revision: Revision) -> None:
    if revision.shrinks is not None and len(revision.refused) == 1:  # whose file has other code by that line alone
        before, now = revision.shrinks
        raise NotComparable(
            f"'{record.name}' has a budget of {before} trials, which can grow, but not shrink to {now}: give {before} "
            f"again, or run this one under a new name: --name {record.name}-2"
        )
    if revision.refused:
        raise NotComparable(
            f"a study '{record.name}' is in the database, whose trials could not be compared with this one's "
            f"({'; '.join(revision.changes)}); run this one under a new name: --name {record.name}-2"
        )


def _refuse_unaccepted(engine: Engine, record: StudyRecord, revision: Revision) -> None:
    """Refuse changes that nobody accepted, unless no trial has a result yet: then any is free, as of a mended model."""
    now, name = progress(engine, record), record.name
    if now.complete + now.pruned + now.leased + now.epochs_trained == 0:
        return
    if revision.code:
        source = origin(record.provenance)
        raise DefinitionChanged(
            f"the trials of '{name}' were trained with other code ({'; '.join(revision.acceptable)}): nobody can tell "
            f"whether they compare with those to come; go back to that code{f' ({source})' if source else ''}, accept "
            f"the change, which its history then shows, with --accept, or begin anew under a new name: --name {name}-2"
        )
    raise DefinitionChanged(
        f"a study '{name}' is in the database with another definition ({'; '.join(revision.comparable)}); its "
        f"trials stay comparable: make this its new version with --accept, go on with that one with "
        f"caviar join {name}, or run this one under a new name: --name {name}-2"
    )


def _is_earlier_version(engine: Engine, record: StudyRecord, study: Study) -> bool:
    """Return True if a study is an earlier version of the definition: then the current one is meant."""
    versions = read_versions(engine, record.study_id) if record.version > 1 else []
    return any(not compare(from_body(version.body), study).changes for version in versions)


def extend_study(engine: Engine, record: StudyRecord, budget: int) -> StudyRecord:
    """Give a study a larger budget: a new version of its definition, and more slots."""
    refuse_panda(engine, record)
    while True:
        before = definition_of(record)
        if budget <= before.budget:
            now = progress(engine, record)
            instead = (
                f"see what they came to with: caviar best {record.name}"
                if now.open + now.leased == 0
                else f"end it early with: caviar stop {record.name}"
            )
            raise NotComparable(
                f"'{record.name}' has a budget of {before.budget} trials already; give more than that, or {instead}"
            )
        after = change(before, budget=budget)
        revised = _revise(engine, record, after, None, compare(before, after))
        record = load_study(engine, record.name)
        if revised:  # if not, somebody else was quicker
            return record


def end_study_early(engine: Engine, record: StudyRecord, why: str) -> bool:
    """End a study with the trials that have begun, as its rule says: a new version of its definition, without the rule.

    Args:
        why: why no more trials are worth it, as a sentence without a full stop.

    Returns:
        False if all trials have begun, or fewer than there are tiers, or somebody changed the study meanwhile; nothing
        was changed.
    """
    before = definition_of(record)

    def shorter(budget: int) -> Study:
        return change(before, budget=budget, until=BUDGET)

    return shorten_study(
        engine, record, lambda budget: to_body(shorter(budget)), lambda budget: plan(shorter(budget)),
        len(before.names()), before.until, why,
    )  # fmt: skip


def _revise(
    engine: Engine, record: StudyRecord, after: Study, provenance: Provenance | None, revision: Revision
) -> bool:
    before = definition_of(record)
    return revise_study(
        engine, record, to_body(after), provenance or record.provenance, revision.acceptable, plan(after),
        (lambda stored: rewrite(before, after, stored)) if revision.rewrites else None,
    )  # fmt: skip


def refuse_panda(engine: Engine, record: StudyRecord) -> None:
    """Refuse to search with a study that is one model."""
    if is_panda(engine, record.study_id):
        raise NotComparable(
            f"'{record.name}' is a panda, one model that is babysat; train it with: caviar panda train {record.name}"
        )


def definition_of(record: StudyRecord) -> Study:
    """Return the current definition of a study."""
    return from_body(record.body)


def free_dead_workers(engine: Engine, record: StudyRecord, deaths: Mapping[int, WorkerDeath] | None = None) -> int:
    """Open the slots whose workers on this machine are dead, so that nobody waits for their leases; return how many.

    Args:
        deaths: what is known of how workers ended, by process id.
    """
    machine, known = machine_id(), deaths or {}
    dead = {pid for pid in leases_on(engine, record.study_id, machine) if not is_alive(pid)}
    ends = {pid: known.get(pid, WorkerDeath()) for pid in sorted(dead)}
    return release_dead(engine, record.study_id, machine, ends) if ends else 0


def progress(engine: Engine, record: StudyRecord) -> Progress:
    """Return how far a study is."""
    return read_progress(engine, record, maximize=definition_of(record).maximize)


def take_snapshot(engine: Engine, record: StudyRecord) -> Snapshot:
    """Return how far a study is, and what happens in it."""
    return read_snapshot(engine, record, maximize=definition_of(record).maximize)
