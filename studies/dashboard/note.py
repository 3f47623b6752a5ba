"""The note on a study in Optuna's dashboard: what the study is, the commands that show more, and at its end who won.

It says, too, what looks otherwise there than in Caviar: the names and axes under which hyperparameters are stored, and
the importance, which Optuna estimates in another way.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from caviar.errors import CaviarError
from caviar.storage.notes import LIMIT, write_note
from caviar.storage.pandas import is_panda
from caviar.storage.records import StudyRecord
from caviar.studies.definition import Study
from caviar.studies.lifecycle.manager import definition_of
from caviar.studies.results.formatting import begin_sentence, number
from caviar.studies.results.next_steps import Situation, Step, next_steps
from caviar.studies.results.summaries import StudyState

if TYPE_CHECKING:
    from caviar.studies.results.winner import Winner
    from caviar.studies.space.base import BaseScale

_IMPORTANCE = (
    "The importance on this page is Optuna's, by PED-ANOVA of the complete trials. `caviar importance {}` asks a model "
    "of all trials instead, and says how sure it is. Where the two differ, trust the latter: it is right more often "
    "where the truth is known."
)


def leave_note(
    engine: Engine, record: StudyRecord, winner: Winner | None = None, steps: Sequence[Step] | None = None
) -> None:
    """Write the note of a study that begins, or ends with a winner; a person's own note is left as it is.

    Args:
        steps: what to do next; None of a study that begins, which somebody is going to train.

    Nothing is raised if that fails: a worker's role may lack the right to write it.
    """
    with suppress(SQLAlchemyError, CaviarError, ValueError):
        study = definition_of(record)
        if is_panda(engine, record.study_id):
            note = panda_note(study, steps or ())
        else:
            note = search_note(study, winner, steps)
        write_note(engine, record.optuna_study_id, note[:LIMIT])


def panda_note(study: Study, steps: Sequence[Step]) -> str:
    """Return the note of one model that is babysat, as Markdown."""
    what = (
        f"One model, babysat by Caviar day by day instead of searched: `{study.subject}`, to {study.direction} "
        f"{study.metric}. Each trial here is a day of its life, or a short candidate for one."
    )
    stored = "\n".join(f"- `{name}`{_stored(name, scale)}" for name, _, scale in study.hyperparameters())
    return "\n\n".join([f"## {study.name}", what, _listed(steps), stored])


def search_note(study: Study, winner: Winner | None = None, steps: Sequence[Step] | None = None) -> str:
    """Return the note of a search, as Markdown."""
    epochs = f" of at most {study.epochs} epochs" if study.epochs else ""
    goal = (
        f"To {study.direction} {study.metric} of `{study.subject}`, by Caviar: "
        f"{study.budget} trials{epochs}, strategy `{study.strategy}`, seed {study.seed}."
    )
    searched = "\n".join(
        f"- tier {tier}: `{name}`, {scale}{_stored(name, scale)}" for name, tier, scale in study.hyperparameters()
    )
    if study.by_trials:
        searched = "\n".join(_tier(*tier) for tier in enumerate(study.names(), start=1))
    if steps is None:
        begun = Situation(study.name, StudyState.RUNNING, 0, study.budget, study.strategy, study.seed)
        steps = next_steps(begun)
    return "\n\n".join(
        [f"## {study.name}", goal, *_won(study, winner), _listed(steps), searched, _IMPORTANCE.format(study.name)]
    )


def _listed(steps: Sequence[Step]) -> str:
    """Return what to do next."""
    return "\n".join(["Next:\n", *(f"{at}. `{step.command}` ({step.why})" for at, step in enumerate(steps, start=1))])


def _stored(name: str, scale: BaseScale) -> str:
    """Say under which other name, and thus on which other axis, a hyperparameter stands in Optuna's tables."""
    return f"; here `{scale.stored_name(name)}`, {scale.stored_as}" if scale.stored_as else ""


def _tier(number: int, names: Sequence[str]) -> str:
    return f"- tier {number}: {', '.join(f'`{name}`' for name in names) or 'what the objective names besides'}"


def _won(study: Study, winner: Winner | None) -> list[str]:
    if winner is None:
        return []
    test = "".join(f", test {name} {number(value)}" for name, value in (winner.test or {}).items())
    values = ", ".join(f"`{name}` {number(value)}" for name, value in winner.hyperparameters.items())
    here = f" (number {winner.optuna_number} here)" if winner.optuna_number not in (None, winner.trial) else ""
    won = f"**Winner: trial {winner.trial}**{here}, {study.metric} {number(winner.value)}{test}: {values}."
    return [won, *([f"{begin_sentence(winner.why_not_best)}."] if winner.why_not_best else [])]
