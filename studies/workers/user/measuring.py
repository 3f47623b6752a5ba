"""Measure a trial that is trained, by a function of the user's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from caviar.epoch import check_metrics
from caviar.studies.errors import TrialMisused
from caviar.studies.workers.trial.training import Ended
from caviar.studies.workers.user.loop import Loop
from caviar.studies.workers.user.seeds import seed_all
from caviar.studies.workers.user.trial import Trial
from caviar.text import quoted


def measure(
    function: Callable[[Trial], object],
    make_trial: Callable[[Loop], Trial],
    seed: tuple[int | str, ...],
    state: Mapping[str, Any],
) -> dict[str, float]:
    """Return what `test(trial)` measures of a trial: what it gives to `trial.keep` is restored, in part or as a whole.

    Raises:
        TrialMisused: it returns something else than metrics. Whatever it raises is raised, too.
        BadCheckpoint: `state` does not fit.
    """
    loop = Loop(seed, state["epoch"], state, lambda epoch: Ended.COMPLETE)  # noqa: ARG005
    seed_all(*seed, "test")
    measured = function(make_trial(loop))
    if not isinstance(measured, Mapping) or not measured:
        raise TrialMisused(f"the test function returned {quoted(measured)}; return metrics, such as {{'rmse': 1.2}}")
    try:
        return check_metrics(measured)
    except ValueError as error:
        raise TrialMisused(f"the test function: {error}") from None
