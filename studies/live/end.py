"""The end of a search on its live page: who won, by how much, and what to do next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Engine

from caviar.storage.checkpoints import CheckpointStore
from caviar.storage.records import StudyRecord, TrialRecord
from caviar.storage.status import read_trial
from caviar.storage.test_results import read_test, tested_slot
from caviar.studies.lifecycle.manager import definition_of
from caviar.studies.live.html import html
from caviar.studies.results.formatting import begin_sentence, number
from caviar.studies.results.gain import in_words as gain_in_words
from caviar.studies.results.next_steps import Situation, next_steps
from caviar.studies.results.report.document import steps_list
from caviar.studies.results.report.reading import read_winner_and_steps
from caviar.studies.results.summaries import StudyState
from caviar.studies.results.winner import Winner

_ALL = 2000  # trials, at most, that a page reads to say all of it: a look at it is to take less than a second
_MORE = '<p class="dim">What follows from so many trials is in the full report.</p>'


@dataclass(frozen=True)
class End:
    """What a page says of a study that is done, as HTML."""

    won: str
    steps: str


def read_end(engine: Engine, record: StudyRecord, best: TrialRecord | None) -> End:
    """Return the end of a study; of one with very many trials what can be said without reading all of them.

    Args:
        best: the trial with the best value.
    """
    if definition_of(record).budget > _ALL:
        return _quick(engine, record, best)
    winner, steps = read_winner_and_steps(engine, record)
    return End("" if winner is None else _won(winner), steps_list(steps))


def _won(winner: Winner) -> str:
    """Say who won, how much better that is than the default, and why it is another one than the best value's."""
    gain = "" if winner.gain is None else f" {' '.join(gain_in_words(winner.gain, winner.trial))}."
    why = f" {begin_sentence(winner.why_not_best)}." if winner.why_not_best else ""
    said = _said(winner.trial, winner.metric, winner.value, winner.test)
    return f"<p>{said}{html(gain)}{html(why)}</p>"


def _said(trial: int, metric: str, value: float | None, test: Mapping[str, float] | None) -> str:
    measured = "".join(f", test {name} {number(of)}" for name, of in sorted((test or {}).items()))
    return f"<strong>{html(f'The winner is trial {trial}, {metric} {number(value)}{measured}.')}</strong>"


def _quick(engine: Engine, record: StudyRecord, best: TrialRecord | None) -> End:
    study, slot = definition_of(record), tested_slot(engine, record.study_id)
    won = ""
    if slot is not None:
        value = read_trial(engine, record.study_id, slot).value
        why = ""
        if best is not None and best.value != value:
            command = html(f"caviar best {study.name}")
            why = f" Why trial {best.slot.number} did not win, <code>{command}</code> says."
        won = f"<p>{_said(slot, study.metric, value, read_test(engine, record.study_id, slot))}{why}</p>"
    now = Situation(
        study.name, StudyState.DONE, study.budget, study.budget, study.strategy, study.seed, winner=slot,
        has_weights=slot is not None and CheckpointStore(engine, record).has(slot),
    )  # fmt: skip
    return End(won, (steps_list(next_steps(now)) if slot is not None else "") + _MORE)
