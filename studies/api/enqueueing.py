"""Ask for a trial with certain values, inside the budget."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Engine

from caviar.storage.enqueued import enqueue_trial
from caviar.storage.who import current_user
from caviar.studies.api.session import opened
from caviar.studies.errors import OptionError
from caviar.studies.lifecycle.manager import definition_of, refuse_panda
from caviar.studies.space.base import Value


@dataclass(frozen=True)
class Enqueued:
    """A trial that waits for the next slot that begins.

    Attributes:
        values: those that it will have; the search chooses the others.
        ahead: how many enqueued trials wait before it.
        optuna_number: its number in Optuna's tools.
    """

    values: Mapping[str, Value]
    ahead: int
    optuna_number: int


def enqueue(study: str, values: Mapping[str, Value], *, database: str | Engine | None = None) -> Enqueued:
    """Try these values next: the next trial that begins has them, and the search chooses what is not named.

    It is one of the study's budget, and may win as any other. Optuna's `enqueue_trial` does the same.

    Args:
        values: by hyperparameter that the study searches, within its range.

    Raises:
        OptionError: a value is of no hyperparameter, or outside its range.
        NoSlotLeft: every trial has begun, or is taken by one that waits.
        NotComparable: the study is a panda, one model that is babysat.

    Examples:
        >>> caviar.enqueue("digits", {"learning_rate": 0.03, "layers": 3}).ahead
        0
    """
    from caviar.studies.search.other_programs import CannotTake, check_asked  # which loads Optuna

    with opened(study, database) as (engine, record):
        refuse_panda(engine, record)
        definition = definition_of(record)
        if not values:
            names = [name for tier in definition.tiers for name in tier]  # an objective's own may be more
            searched = f"; the study searches: {', '.join(names)}" if names else ""
            raise OptionError(f"name at least one hyperparameter{searched}")
        try:
            check_asked(definition, values)
        except CannotTake as error:
            raise OptionError(str(error)) from error
        place = enqueue_trial(engine, record, values, current_user())
    return Enqueued(dict(values), place.ahead, place.optuna_number)
