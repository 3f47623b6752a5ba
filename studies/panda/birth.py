"""Begin a panda: register it with the settings of its birth, from a study's defaults or from a trial's weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, Engine

from caviar.limits import EPOCHS
from caviar.storage.checkpoints import CheckpointStore
from caviar.storage.definitions import find_study, load_study, register_study
from caviar.storage.pandas import BIRTH, TIER, NewDay, Origin, PandaRecord, add_panda, is_panda
from caviar.storage.records import Provenance, Slot, StudyRecord
from caviar.storage.states import Phase
from caviar.storage.status import read_trial
from caviar.studies.definition import Study, change, to_body
from caviar.studies.errors import OptionError
from caviar.studies.lifecycle.manager import definition_of
from caviar.studies.panda.length import DayLength
from caviar.studies.panda.planning import check_settings
from caviar.studies.panda.settings import OF_THE_RATE, check_names
from caviar.studies.results.winner import standings
from caviar.studies.space.base import Value
from caviar.studies.way import Way
from caviar.text import whole_number


@dataclass(frozen=True)
class Ancestor:
    """A trial whose weights a panda begins with: its study, its hyperparameters, and where it stands."""

    record: StudyRecord
    study: Study
    settings: Mapping[str, Value]
    origin: Origin


def begin(
    engine: Engine,
    study: Study,
    name: str,
    settings: Mapping[str, Value],
    provenance: Provenance,
    day: DayLength,
    *,
    keep_all: bool = False,
    ancestor: Ancestor | None = None,
) -> StudyRecord:
    """Register a panda. Its birth is open then, and trained like a day by the first process that comes.

    Raises:
        OptionError: the name is taken, or a setting is out of its range or cannot be changed.
        DefinitionError: the model has no such hyperparameter, or cannot be trained with the settings.
    """
    if find_study(engine, name) is not None:
        raise OptionError(
            f"the name '{name}' is taken by a study or panda in the database; go on with that panda: "
            f"caviar panda train {name}; or give another NAME"
        )
    own = panda_definition(study, name)
    given = check_names(own, settings, is_born=ancestor is not None)
    defaults = {scale_name: scale.default for scale_name, scale in own.scales().items()}
    everything = {**defaults, **(ancestor.settings if ancestor else {}), **given}
    check_settings(own, everything, given)
    origin = ancestor.origin if ancestor else None
    begins_at = origin.epoch if origin else 0
    panda = PandaRecord(BIRTH, day.epochs, day.seconds, keep_all, origin.trial if origin else 0, origin)
    birth = NewDay(None, begins_at, everything, begins_at if OF_THE_RATE & given.keys() else 0)
    registered = []

    def also(connection: Connection, study_id: int) -> None:
        add_panda(connection, study_id, panda, birth)
        registered.append(study_id)

    record = register_study(
        engine, name, metric=own.metric, maximize=own.maximize, body=to_body(own), provenance=provenance,
        slots=[Slot(BIRTH, TIER, Phase.DAY, ())], also=also,
    )  # fmt: skip
    if not registered:
        raise OptionError(
            f"the name '{name}' was taken this very moment; see it with: caviar status {name}; or give another NAME"
        )
    return record


def panda_definition(study: Study, name: str) -> Study:
    """Return a panda's definition: that of the study without pruning, and a model's without a last epoch.

    A function of the user's own may have a schedule with an end, and keeps it.

    Raises:
        OptionError: the study trains in a way that saves no state of one model, or in several processes.
    """
    if study.way not in (Way.MODEL, Way.TRAIN):
        raise OptionError(f"'{study.name}' trains by {study.way}=; a panda needs a study with model= or train=")
    if study.gpus:
        raise OptionError(
            f"'{study.name}' has gpus={study.gpus}; a panda trains in one process: begin it with a study without gpus="
        )
    return change(study, name=name, epochs=EPOCHS if study.way is Way.MODEL else None, pruner="none")


def find_ancestor(engine: Engine, origin: str) -> Ancestor:
    """Return the trial that `STUDY:TRIAL` or `STUDY:best` names.

    Raises:
        OptionError: `origin` has another form, names a panda, or a trial whose weights are not kept.
        StudyNotFound: the database has no such study.
    """
    name, colon, which = origin.rpartition(":")
    given = whole_number(which)
    if not colon or (given is None and which != "best"):
        raise OptionError(f"--from {origin}: give STUDY:TRIAL, such as mnist:12, or STUDY:best")
    record = load_study(engine, name)
    if is_panda(engine, record.study_id):
        raise OptionError(f"--from {origin}: '{name}' is a panda; go back in it: caviar panda back {name} --to {which}")
    study = definition_of(record)
    winner = standings(engine, record).winner
    number = given if given is not None else winner.trial if winner else None
    if number is None or not CheckpointStore(engine, record).has(number):
        other = f" (those of trial {winner.trial} of '{name}' may be)" if winner else ""
        raise OptionError(
            f"--from {origin}: the weights of that trial are not kept{other}; "
            f"begin with its hyperparameters alone: --study {name} --set learning_rate=..."
        )
    trial = read_trial(engine, record.study_id, number)
    if study.way is Way.TRAIN and trial.epoch >= study.last_epoch:
        raise OptionError(
            f"--from {origin}: that trial has all {trial.epoch} epochs, and a schedule of its own may end with them; "
            f"begin anew, with its hyperparameters: --study {name} --set NAME=VALUE, or give the study more epochs"
        )
    return Ancestor(record, study, study.values(trial.parameters), Origin(name, number, trial.epoch))
