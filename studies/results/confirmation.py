"""Is the winner better than the runner-up, or was it luckier? What fresh trainings of both say; here none is trained.

Every training that is finished is an event of its study, so that one that is interrupted loses only what it is at.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Engine

from caviar.storage.events import log_event, read_events
from caviar.storage.history import is_feasible
from caviar.studies.definition import Study

_KIND = "trained again"
_SURE = 0.95
Trainings = dict[int, dict[int, float]]  # the metric after the last epoch, by trial and by the training's number


def runner_up(study: Study, trials: Sequence[FrozenTrial], winner: int) -> int | None:
    """Return the complete, sound trial with the best value whose configuration is not the winner's; of equals the
    first. None where there is none.

    Args:
        winner: its number.
    """
    values = {t.number: study.trained(t.params) for t in trials if _counts(study, t)}
    sign = -1 if study.maximize else 1
    others = [t for t in trials if t.number in values and values[t.number] != values.get(winner)]
    best = min(others, key=lambda t: (sign * (t.value or 0.0), t.number), default=None)
    return None if best is None else best.number


def read_trainings(engine: Engine, study_id: int) -> Trainings:
    """Return what a study's trials came to when they were trained again; of a training that two machines did at the
    same time, the first."""
    found: Trainings = defaultdict(dict)
    for event in read_events(engine, study_id, _KIND):
        if event.slot is not None:
            found[event.slot].setdefault(event.detail["training"], event.detail["value"])
    return dict(found)


def write_trainings(engine: Engine, study_id: int, values: dict[tuple[int, int], float], **detail: Any) -> None:
    """Keep what trainings came to, all or none of them.

    Args:
        values: the metric after the last epoch, by trial and the training's number.
        detail: what else there is to be told of each.
    """
    with engine.begin() as connection:
        for (trial, training), value in values.items():
            log_event(connection, study_id, _KIND, slot=trial, training=training, value=value, **detail)


def confirmation_facts(
    engine: Engine, study_id: int, study: Study, trials: Sequence[FrozenTrial], winner: int
) -> dict[str, Any] | None:
    """Return how the winner and the runner-up compare when both are trained again, as plain JSON values; None as long
    as two trainings of each are not there. `low` and `high` are None where no training differs from another of the
    same trial, and the verdict is `open` then."""
    trained = read_trainings(engine, study_id)
    other = runner_up(study, trials, winner) if winner in trained else None
    if other is None or other not in trained:
        return None
    first, second = ([value for _, value in sorted(trained[number].items())] for number in (winner, other))
    if min(len(first), len(second)) < 2:
        return None
    sign = 1 if study.maximize else -1
    difference, low, high = welch([sign * value for value in first], [sign * value for value in second])
    return {
        "study": study.name, "runner_up": other, "winner_values": first, "runner_up_values": second,
        "winner_mean": statistics.mean(first), "runner_up_mean": statistics.mean(second),
        "better_by": difference, "low": low, "high": high,
        "verdict": "open" if low is None or high is None else "better" if low > 0 else "worse" if high < 0 else "open",
    }  # fmt: skip


def welch(first: Sequence[float], second: Sequence[float]) -> tuple[float, float | None, float | None]:
    """Return how much larger the mean of the first sample is than that of the second, and the ends of the 95 %
    confidence interval of that difference, by Welch's t: the samples need not vary alike. Where neither varies at all
    there is no such interval, and its ends are None: so few trainings have not shown their noise.

    Source: B. L. Welch, The generalization of "Student's" problem when several different population variances are
    involved, Biometrika 34 (1947), https://doi.org/10.1093/biomet/34.1-2.28.

    Args:
        first, second: independent, of two or more each.
    """
    from scipy.special import stdtrit

    difference = statistics.mean(first) - statistics.mean(second)
    shares = [statistics.variance(sample) / len(sample) for sample in (first, second)]
    squared = sum(shares)
    if squared == 0:
        return difference, None, None
    freedom = squared**2 / sum(s**2 / (len(x) - 1) for s, x in zip(shares, (first, second), strict=True))
    half = float(stdtrit(freedom, (1 + _SURE) / 2)) * math.sqrt(squared)
    return difference, difference - half, difference + half


def in_words(facts: dict[str, Any]) -> str:
    """Say what a confirmation found, and what to do where it is not that the winner is better."""
    number, other = len(facts["winner_values"]), len(facts["runner_up_values"])
    times = f"{number} times each" if number == other else f"{number} and {other} times"
    more = f"caviar best {facts['study']} --confirm {2 * max(number, other)}"
    told = (
        f"trained again {times} with fresh seeds, the winner comes to {facts['winner_mean']:.4f} on average, trial "
        f"{facts['runner_up']} to {facts['runner_up_mean']:.4f}; {_difference(facts)}"
    )
    if facts["low"] is None:
        return f"{told}; all of each came to the same, which does not show their noise: train more often ({more})"
    verdicts = {
        "better": "more than the noise of a training",
        "worse": f"so the runner-up is the better one, by more than the noise of a training; take its hyperparameters "
        f"(caviar trials {facts['study']})",
        "open": f"no more than the noise of a training; more trainings may tell ({more})",
    }
    return f"{told}: {verdicts[facts['verdict']]}"


def _difference(facts: dict[str, Any]) -> str:
    """Say by how much the winner is better, or worse, with the interval of that."""
    by, low, high = facts["better_by"], facts["low"], facts["high"]
    word = "worse" if by < 0 else "better"
    ends = "" if low is None else f", {low:.4f} to {high:.4f}" if by >= 0 else f", {-high:.4f} to {-low:.4f}"
    return f"it is {word} by {abs(by):.4f}{ends}" + (" (95 %, Welch's t)" if ends else "")


def _counts(study: Study, trial: FrozenTrial) -> bool:
    """Say whether a trial may be compared; one with other parameters was made by another program."""
    stored = {scale.stored_name(name) for name, scale in study.scales().items()}
    complete = trial.state == TrialState.COMPLETE and trial.value is not None
    return complete and is_feasible(trial) and stored <= trial.params.keys()
