"""When a bad learning curve is stopped early; never in the first three epochs.

- `pace`, the default: a trial stops that learns more than four times slower than the best finished one: its best value
  so far is worse than what that one had in a quarter of the epochs. It compares with the best, so the many good trials
  at the end of a search are not measured against one another; and in time, so it needs no idea of how values spread.
- `median`, Optuna's: a trial stops whose best value so far is worse than the median of the complete trials' values at
  that epoch, once five are complete. It saves more epochs, and stops half of the good trials at the end of a search.
"""

from __future__ import annotations

import math

import optuna
from optuna.pruners import MedianPruner
from optuna.trial import FrozenTrial, TrialState

from storage.history import is_feasible
from studies.definition import Study

FIRST_TRIALS = 5  # complete before the median stops any
WARM_UP = 3  # epochs that every trial gets
SLOWER = 4  # times


def reason_to_stop(study: Study, view: optuna.Study, trial: FrozenTrial) -> str | None:
    """Return why a trial should stop after its last reported epoch, or None where it should go on.

    Args:
        view: the study's complete trials so far, as Optuna reads them, the best among them; those of a large study
            that it is compared with.
        trial: the running trial, with the value of each epoch so far in its intermediate values; 1 is the first.
    """
    if study.pruner == "none" or not trial.intermediate_values or max(trial.intermediate_values) <= WARM_UP:
        return None
    complete = view.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    sound = [t for t in complete if is_feasible(t)]  # Optuna's pruner counts diverged trials too
    if study.pruner == "pace":
        return _too_slow(study, sound, trial)
    if len(sound) < FIRST_TRIALS:
        return None
    pruner = MedianPruner(n_startup_trials=FIRST_TRIALS, n_warmup_steps=WARM_UP + 1)
    if not pruner.prune(view, trial):
        return None
    return f"worse than the median at epoch {max(trial.intermediate_values)}"


def _too_slow(study: Study, sound: list[FrozenTrial], trial: FrozenTrial) -> str | None:
    sign = 1 if study.maximize else -1
    best = max(sound, key=lambda t: sign * (t.value or 0.0), default=None)
    epoch = max(trial.intermediate_values)
    early = math.ceil(epoch / SLOWER)
    theirs = [sign * value for at, value in best.intermediate_values.items() if at <= early] if best else []
    if best is None or not theirs or max(sign * value for value in trial.intermediate_values.values()) >= max(theirs):
        return None
    return f"at epoch {epoch} not yet where trial {best.number}, the best, was at epoch {early}"
