"""How a panda comes into the database, and how its days are opened."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, Engine

from caviar.storage.checkpoints import CheckpointStore
from caviar.storage.definitions import find_study, load_study, register_study
from caviar.storage.errors import UnknownDay
from caviar.storage.pandas import BIRTH, TIER, DayRecord, Life, NewDay, PandaRecord, add_panda, is_panda
from caviar.storage.records import Provenance, Slot, StudyRecord
from caviar.storage.states import Phase
from caviar.storage.status import read_trial
from caviar.studies.definition import Study, change, to_body
from caviar.studies.errors import OptionError
from caviar.studies.lifecycle.manager import definition_of
from caviar.studies.panda.lineage import nearest_saved
from caviar.studies.panda.settings import OF_THE_RATE, at_the_end_of, with_waiting
from caviar.studies.results.winner import find_winner
from caviar.studies.space.base import Value
from caviar.studies.workers.trial.build import check_values

_WITHOUT_END = 1_000_000  # epochs: a panda has no last one


def begin(
    engine: Engine,
    study: Study,
    name: str,
    given: Mapping[str, Value],
    provenance: Provenance,
    panda: PandaRecord,
    inherited: Mapping[str, Value] | None = None,
) -> StudyRecord:
    """Register a panda; its birth is trained as a day is, by whoever comes first.

    Args:
        study: what its model, its data and the ranges of its settings are.
        given: settings by hand.
        inherited: settings of the trial that it comes from; others are the study's defaults.

    Raises:
        OptionError: there is a study of that name, or a setting is not one of the study's, or out of its range.
    """
    if find_study(engine, name) is not None:
        raise OptionError(
            f"'{name}' is in the database already; go on with it: caviar panda train {name}; or name another"
        )
    own = panda_of(study, name)
    defaults = {n: scale.default for n, scale in own.scales().items()}
    everything = {**defaults, **(inherited or {}), **given}
    check_settings(own, everything, given)
    begins_at = int(panda.origin["epoch"]) if panda.origin else 0
    birth = NewDay(None, begins_at, everything, begins_at if OF_THE_RATE & given.keys() else 0)
    made = []

    def also(connection: Connection, study_id: int) -> None:
        add_panda(connection, study_id, panda, birth)
        made.append(study_id)

    record = register_study(
        engine, name, maximize=own.maximize, body=to_body(own), provenance=provenance,
        slots=[Slot(BIRTH, TIER, Phase.DAY, ())], also=also,
    )  # fmt: skip
    if not made:
        raise OptionError(
            f"somebody has begun '{name}' this very moment; look at it: caviar status {name}; or name another"
        )
    return record


def panda_of(study: Study, name: str) -> Study:
    """Return the definition of a panda: the study's model, data and scales, without an end, and nothing is pruned."""
    return change(study, name=name, epochs=_WITHOUT_END, pruner="none")


def find_origin(engine: Engine, given: str) -> tuple[Study, dict[str, Value], Mapping[str, Any]]:
    """Return the study, the settings and the origin of `STUDY:TRIAL` or `STUDY:best`.

    Raises:
        OptionError: it is of another form, or the trial's weights are not kept.
        StudyNotFound: there is no such study.
    """
    name, colon, which = given.rpartition(":")
    if not colon or not (which == "best" or which.isdecimal()):
        raise OptionError(f"--from {given}: give STUDY:TRIAL, such as mnist:12, or STUDY:best")
    record = load_study(engine, name)
    if is_panda(engine, record.study_id):
        raise OptionError(f"--from {given}: '{name}' is a panda; go back in it: caviar panda back {name} --to {which}")
    study = definition_of(record)
    winner = find_winner(engine, record)
    number = int(which) if which != "best" else winner.trial if winner else None
    if number is None or not CheckpointStore(engine, record).has(number):
        kept = f" (of '{name}' those of trial {winner.trial} may be)" if winner else ""
        raise OptionError(
            f"--from {given}: the weights of that trial are not kept{kept}; "
            f"begin with its hyperparameters alone: --study {name} --set learning_rate=..."
        )
    trial = read_trial(engine, record.study_id, number)
    return study, study.values(trial.parameters), {"study": name, "trial": number, "epoch": trial.epoch}


def check_settings(study: Study, settings: Mapping[str, Value], changed: Iterable[str] = ()) -> None:
    """Check that a model can be trained with these settings, and that they are in the study's ranges.

    Args:
        changed: names that are given by hand, and should have an effect.

    Raises:
        OptionError: one is out of its range.
        DefinitionError: the model or its training refuses one, or it has no effect.
    """
    scales = study.scales()
    for name, value in settings.items():
        if name in scales and not scales[name].accepts(value):
            raise OptionError(f"{name} {value} is not of its range in this study: {scales[name]}")
    check_values(study, settings, changed)


def next_day(life: Life, name: str) -> list[NewDay]:
    """Plan a panda's next day: it builds on the last one, with what waits of nudges.

    Raises:
        UnknownDay: nothing can build on that.
    """
    head = sound_head(life, name)
    now = with_waiting(life, at_the_end_of(life, head.number), head.epoch)
    return [NewDay(head.number, head.epoch, dict(now.settings), now.decay_from)]


def sound_head(life: Life, name: str) -> DayRecord:
    """Return the day that the next one builds on.

    Raises:
        UnknownDay: its state is not kept: it diverged, failed, or was abandoned.
    """
    head = life.days[life.panda.head]
    if not head.saved:
        there = nearest_saved(life, head)
        step = f"go back with: caviar panda back {name} --to {there.number}" if there else "there is no earlier one"
        why = {"diverged": "diverged", "out_of_memory": "ran out of memory"}.get(head.violated or "", "has no state")
        raise UnknownDay(f"day {head.number} of '{name}' {why}, and nothing can build on it; {step}")
    return head
