"""Plan the days of a panda that are to be trained next, and check that the model can be trained with their settings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from caviar.storage.errors import UnknownDay
from caviar.storage.pandas import DayRecord, Life, NewDay
from caviar.studies.definition import Study
from caviar.studies.errors import OptionError
from caviar.studies.panda.lineage import nearest_saved
from caviar.studies.panda.settings import change_settings, check_names, next_settings
from caviar.studies.space.base import Value
from caviar.studies.workers.trial.checks import check_values


def next_day(life: Life, study: Study) -> list[NewDay]:
    """Plan a panda's next day, which builds on the last one and begins with the nudges that wait.

    Raises:
        UnknownDay: nothing can build on the last day, or it has trained the last epoch.
    """
    head = _head_to_build_on(life, study)
    now = next_settings(life)
    return [NewDay(head.number, head.epoch, dict(now.settings), now.decay_from)]


def candidate_days(life: Life, *, study: Study, candidates: Sequence[Mapping[str, Value]], epochs: int) -> list[NewDay]:
    """Plan a short day for each candidate, all from the end of the last day, with the nudges that wait.

    Raises:
        UnknownDay: nothing can build on the last day.
        OptionError, DefinitionError: a candidate cannot be trained.
    """
    head = _head_to_build_on(life, study)
    planned = []
    for given in candidates:
        candidate = check_names(study, given)
        now = change_settings(next_settings(life), candidate, head.epoch)
        check_settings(study, now.settings, candidate)
        planned.append(NewDay(head.number, head.epoch, dict(now.settings), now.decay_from, epochs, is_look=True))
    return planned


def check_settings(study: Study, settings: Mapping[str, Value], changed: Iterable[str] = ()) -> None:
    """Check that a model can be trained with settings, that each is within its range, and that the changed ones count.

    Raises:
        OptionError: a value is out of its range.
        DefinitionError: the model or its training refuses a value, or a changed setting has no effect.
    """
    scales = study.scales()
    for name, value in settings.items():
        if name in scales and not scales[name].accepts(value):
            raise OptionError(f"{name} {value} is out of its range in this study: {scales[name]}")
    check_values(study, settings, changed)


def _head_to_build_on(life: Life, study: Study) -> DayRecord:
    """Return the last day of the current branch.

    Raises:
        UnknownDay: its state is not kept, since it diverged, failed or was abandoned; or no epoch is left.
    """
    head, name = life.days[life.panda.head], study.name
    if head.epoch >= study.last_epoch:
        raise UnknownDay(
            f"'{name}' has trained its {study.last_epoch} epochs; go back with: caviar panda back {name}, or begin a "
            f"panda of a study with more epochs"
        )
    if not head.saved:
        earlier = nearest_saved(life, head)
        step = f"go back with: caviar panda back {name} --to {earlier.number}" if earlier else "there is no earlier one"
        why = {"diverged": "diverged", "out_of_memory": "ran out of memory"}.get(head.violated or "", "has no state")
        raise UnknownDay(f"day {head.number} of '{name}' {why}, and nothing can build on it; {step}")
    return head
