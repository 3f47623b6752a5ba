"""When a bad learning curve is stopped early; never in the first three epochs.

- `pace`, the default: a trial stops that learns more than twice slower than the best one, complete or beside it: its
  best value so far is worse than what that one had in half of the epochs. It compares with the best, so the many good
  trials at the end of a search are not measured against one another; in time, so it needs no idea of how values spread;
  and with trials that are running, since the first ones of a search would otherwise all be trained to their ends. One
  of those may yet diverge: what only running trials are better than needs two of them to be stopped.
- `median`, Optuna's: a trial stops whose best value so far is worse than the median of the complete trials' values at
  that epoch, once five are complete. It saves more epochs, and stops half of the good trials at the end of a search.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import optuna
from optuna.pruners import MedianPruner
from optuna.trial import FrozenTrial, TrialState

from caviar.storage.history import is_feasible
from caviar.studies.definition import Study

# Other trials than the best one, at most, that a curve is compared with. The median of 1,000 is that of all, within 2 %
# of the ranks.
COMPARED = {"none": 0, "pace": 0, "median": 1000}
FIRST_TRIALS = 5  # complete before the median stops any
WARM_UP = 3  # epochs that every trial gets
SLOWER = 2  # times
_SURE = 2  # trials, where the best is not complete


def reason_to_stop(
    study: Study, view: optuna.Study, trial: FrozenTrial, beside: Sequence[FrozenTrial] = ()
) -> str | None:
    """Return why a trial should stop after its last reported epoch, or None where it should go on.

    Args:
        view: the study's complete trials so far, as Optuna reads them, the best among them; those of a large study
            that it is compared with.
        trial: the running trial, with the value of each epoch so far in its intermediate values; 1 is the first.
        beside: other running trials, with theirs.
    """
    if study.pruner == "none" or not trial.intermediate_values or max(trial.intermediate_values) <= WARM_UP:
        return None
    complete = view.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    sound = [t for t in complete if is_feasible(t)]  # Optuna's pruner counts diverged trials too
    if study.pruner == "pace":
        return _too_slow(study, [*sound, *beside], trial)
    if len(sound) < FIRST_TRIALS:
        return None
    pruner = MedianPruner(n_startup_trials=FIRST_TRIALS, n_warmup_steps=WARM_UP + 1)
    if not pruner.prune(view, trial):
        return None
    return f"worse than the median at epoch {max(trial.intermediate_values)}"


def _too_slow(study: Study, others: Sequence[FrozenTrial], trial: FrozenTrial) -> str | None:
    sign = 1 if study.maximize else -1

    def best_until(curve: Mapping[int, float], epoch: float) -> float:
        return max((sign * value for at, value in curve.items() if at <= epoch), default=-math.inf)

    def standing(other: FrozenTrial) -> float:
        return best_until(other.intermediate_values, math.inf) if other.value is None else sign * other.value

    epoch = max(trial.intermediate_values)
    early = math.ceil(epoch / SLOWER)
    best = max((other for other in others if other.intermediate_values), key=standing, default=None)
    mine = best_until(trial.intermediate_values, epoch)
    # A curve that is worse again sets no pace by what it was.
    if best is None or mine >= min(best_until(best.intermediate_values, early), standing(best)):
        return None
    if best.value is None and sum(standing(other) > mine for other in others) < _SURE:
        return None
    return f"at epoch {epoch} not yet where trial {best.number}, the best, was at epoch {early}"
