"""Let one of Optuna's pruners decide before a study begins: what cannot decide, or never would, is refused then."""

from __future__ import annotations

from typing import TYPE_CHECKING

from caviar.foreign_code import reason_of
from caviar.limits import EPOCHS
from caviar.studies.errors import DefinitionError
from caviar.studies.search.optuna_pruners import HalvingPruner, optuna_pruner
from caviar.studies.search.pruner import Pruner

if TYPE_CHECKING:
    import optuna

_TRIALS, _LOOKS = 12, 27  # complete trials, and epochs at which one more is looked at: all decide by their own rule


def rehearse(text: str, epochs: int | None) -> None:
    """Let one of Optuna's pruners decide about trials that are made up: many a bad argument is only found then.

    Args:
        text: the pruner, as in `optuna_pruner`.
        epochs: of a trial that is not stopped early; None if nobody knows.

    Raises:
        DefinitionError: it cannot decide, or would look at no trial of so many epochs.
    """
    pruner, most = optuna_pruner(text, epochs), epochs or EPOCHS
    try:
        looks = not isinstance(pruner, HalvingPruner) or pruner.looks_at(most)
        if looks:
            _decide(pruner, epochs)
    except Exception as error:  # of Optuna's, or of a package of its own
        raise DefinitionError(f"the pruner {text} cannot decide about a trial: {reason_of(error)}") from error
    if not looks:
        raise DefinitionError(
            f"the pruner {text} can stop no trial: it looks at none of its {most:,} epochs; give it a smaller "
            f"min_resource, or no arguments"
        )


def _decide(pruner: Pruner, epochs: int | None) -> None:
    """Let a pruner decide after each epoch of a trial, beside complete ones."""
    from optuna.study import StudyDirection
    from optuna.trial import TrialState, create_trial

    from caviar.storage.history import study_of

    last = epochs or _LOOKS
    curve = {epoch: epoch / last for epoch in range(1, last + 1, -(-last // _LOOKS))}
    complete = {}
    for number in range(_TRIALS):
        of_one = {epoch: value * number for epoch, value in curve.items()}
        complete[number] = trial = create_trial(value=of_one[max(of_one)], intermediate_values=of_one)
        trial.number = trial._trial_id = number
    past = _MadeUp(study_of(complete, StudyDirection.MAXIMIZE))
    for epoch in curve:
        so_far = {one: value for one, value in curve.items() if one <= epoch}
        trial = create_trial(state=TrialState.RUNNING, intermediate_values=so_far)
        trial.number = trial._trial_id = _TRIALS
        pruner.reason_to_stop(past, trial, ())


class _MadeUp:
    """Trials that nobody has trained."""

    def __init__(self, study: optuna.Study) -> None:
        self._study = study

    def complete(self, others: int) -> optuna.Study:  # noqa: ARG002
        return self._study

    ended = complete
