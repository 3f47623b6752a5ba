"""The note on a study in Optuna's dashboard: what the study is, the commands that show more, and at its end who won."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from caviar.errors import CaviarError
from caviar.storage.notes import LIMIT, write_note
from caviar.storage.records import StudyRecord
from caviar.studies.definition import Study
from caviar.studies.lifecycle.manager import definition_of
from caviar.studies.results.formatting import number

if TYPE_CHECKING:
    from caviar.studies.results.winner import Winner


def leave_note(engine: Engine, record: StudyRecord, winner: Winner | None = None) -> None:
    """Write the note of a study that begins, or ends with a winner; a person's own note is left as it is.

    Nothing is raised if that fails: a worker's role may lack the right to write it.
    """
    with suppress(SQLAlchemyError, CaviarError, ValueError):
        write_note(engine, record.optuna_study_id, note_text(definition_of(record), winner)[:LIMIT])


def note_text(study: Study, winner: Winner | None = None) -> str:
    """Return the note as Markdown."""
    epochs = f" of at most {study.epochs} epochs" if study.epochs else ""
    goal = (
        f"To {study.direction} {study.metric} of `{study.subject}`, by Caviar: "
        f"{study.budget} trials{epochs}, strategy `{study.strategy}`, seed {study.seed}."
    )
    searched = "\n".join(f"- tier {tier}: `{name}`, {scale}" for name, tier, scale in study.hyperparameters())
    if study.by_trials:
        searched = "\n".join(_tier(*tier) for tier in enumerate(study.names(), start=1))
    commands = [f"caviar report {study.name} --open", f"caviar {'best' if winner else 'status'} {study.name}"]
    shown = "\n".join(["```console", *(f"$ {command}" for command in commands), "```"])
    return "\n\n".join([f"## {study.name}", goal, *_won(study, winner), shown, searched])


def _tier(number: int, names: Sequence[str]) -> str:
    return f"- tier {number}: {', '.join(f'`{name}`' for name in names) or 'what the objective names besides'}"


def _won(study: Study, winner: Winner | None) -> list[str]:
    if winner is None:
        return []
    test = "".join(f", test {name} {number(value)}" for name, value in (winner.test or {}).items())
    values = ", ".join(f"`{name}` {number(value)}" for name, value in winner.hyperparameters.items())
    here = f" (number {winner.optuna_number} here)" if winner.optuna_number not in (None, winner.trial) else ""
    won = f"**Winner: trial {winner.trial}**{here}, {study.metric} {number(winner.value)}{test}: {values}."
    return [won, *([f"{winner.why_not_best.capitalize()}."] if winner.why_not_best else [])]
