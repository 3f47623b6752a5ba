"""A study's trials in memory, for Optuna's samplers and pruners, kept up to date with one statement."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from operator import attrgetter
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, json_to_distribution
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Engine, text

from caviar.storage.optuna_tables import CONSTRAINT, from_json

# The changes since the last reading: newer trials, those that have ended meanwhile, and those that waited. The progress
# of running trials is left out, since only their own workers need it. The first reading also leaves out the curves of
# complete trials: they are most of the data, and the pruner needs only some of them.
# A slot's trial has its slot's number here. It has ended when its slot is spent: what another program told Optuna of it
# counts from then on, too.
_CHANGED = text("""
    SELECT t.trial_id, coalesce(s.number, t.number) AS number, t.datetime_start, t.datetime_complete,
           s.state IS NOT NULL AND s.state <> 'ended elsewhere' AS is_own,
           CASE WHEN s.state IN ('open', 'leased') THEN 'RUNNING' ELSE t.state::text END AS state,
           (SELECT v.value FROM public.trial_values v WHERE v.trial_id = t.trial_id AND v.objective = 0) AS value,
           (SELECT json_agg(json_build_array(p.param_name, p.param_value, p.distribution_json) ORDER BY p.param_id)
              FROM public.trial_params p WHERE p.trial_id = t.trial_id) AS params,
           CASE WHEN :seen >= 0 OR t.state <> 'COMPLETE' OR s.state IN ('open', 'leased')
                THEN (SELECT json_agg(json_build_array(i.step, i.intermediate_value))
                        FROM public.trial_intermediate_values i
                       WHERE i.trial_id = t.trial_id AND i.intermediate_value_type = 'FINITE') END AS curve,
           (SELECT json_object_agg(a.key, a.value_json)
              FROM public.trial_system_attributes a WHERE a.trial_id = t.trial_id) AS attributes
    FROM public.trials t LEFT JOIN caviar.slot s ON s.trial_id = t.trial_id
    WHERE t.study_id = :study
      AND (t.trial_id > :seen OR t.trial_id = ANY(CAST(:anew AS int[])) OR t.trial_id = ANY(CAST(:waiting AS int[]))
           OR t.trial_id = ANY(CAST(:running AS int[])) AND t.state <> 'RUNNING'
              AND coalesce(s.state NOT IN ('open', 'leased'), true))
    ORDER BY t.trial_id
""")

_CURVES = text("""
    SELECT trial_id, json_agg(json_build_array(step, intermediate_value)) AS curve
    FROM public.trial_intermediate_values
    WHERE trial_id = ANY(:trials) AND intermediate_value_type = 'FINITE' GROUP BY trial_id
""")
# What Optuna raises for a distribution that is no JSON or none of its own, and for a value that is none of it.
_NO_SENSE = (ValueError, TypeError, LookupError, ArithmeticError, AttributeError, RecursionError)
_PLACE = attrgetter("number", "_trial_id")  # another program's trial may have the number of a slot
BEST = 3  # trials that `History.best` returns at most


class TrialsView(InMemoryStorage):
    """A read-only Optuna storage over a dictionary of trials by id."""

    def __init__(self, trials: dict[int, FrozenTrial], direction: optuna.study.StudyDirection) -> None:
        super().__init__()
        self._trials = trials
        self._ordered = sorted(trials.values(), key=_PLACE)
        with quiet():
            self.create_new_study([direction], "history")

    def get_all_trials(
        self,
        study_id: int,  # noqa: ARG002
        deepcopy: bool = True,  # noqa: ARG002
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        return [t for t in self._ordered if states is None or t.state in states]

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Do nothing: samplers write their choices here, but only the worker that holds the lease may write."""

    def _put(self, trial_id: int, trial: FrozenTrial) -> None:
        """Add a trial, or replace it."""
        self._drop(trial_id)
        self._trials[trial_id] = trial
        insort(self._ordered, trial, key=_PLACE)

    def _drop(self, trial_id: int) -> None:
        """Take a trial away, if it is there."""
        trial = self._trials.pop(trial_id, None)
        if trial is not None:
            del self._ordered[bisect_left(self._ordered, _PLACE(trial), key=_PLACE)]


class History(TrialsView):
    """The trials that a search learns from as an Optuna storage, which samplers and pruners read and never write.

    These are the trials of the study's slots, and what `learn` makes of a finished trial of another Optuna program, or
    of one that such a program ended; None leaves it out. Only a slot's own can be among the best. `grows` says whether
    trials get hyperparameters while they run, so that those of running trials are read again.
    """

    def __init__(
        self,
        engine: Engine,
        optuna_study_id: int,
        *,
        maximize: bool,
        learn: Callable[[FrozenTrial], FrozenTrial | None] = lambda trial: None,  # noqa: ARG005
        grows: bool = False,
    ) -> None:
        self._direction = optuna.study.StudyDirection.MAXIMIZE if maximize else optuna.study.StudyDirection.MINIMIZE
        super().__init__({}, self._direction)
        self._engine = engine
        self._optuna_study_id = optuna_study_id
        self._learn, self._grows = learn, grows
        self._waiting: dict[int, FrozenTrial] = {}  # enqueued by other programs, by id
        self._own: set[int] = set()  # the trials of the study's slots, by id
        self._running: set[int] = set()
        self._complete: dict[int, None] = {}  # in the order in which they were read
        self._best: list[FrozenTrial] = []  # the best one first
        self._fallen: list[int] = []  # numbers of the trials that were among them
        self._bare: set[int] = set()  # trials whose curves were not read
        self._seen = -1
        self._compared: dict[int, optuna.Study] = {}  # by the number of others; cleared when a trial completes

    def refresh(self, anew: int | None = None) -> None:
        """Read the trials that began or ended since the last call, and again the curve of the trial with the Optuna id
        `anew`, which this worker continues."""
        again = [*(self._running if self._grows else ()), *(() if anew is None else [anew])]
        parameters = {
            "study": self._optuna_study_id, "seen": self._seen, "anew": sorted(set(again)),
            "running": sorted(self._running), "waiting": sorted(self._waiting),
        }  # fmt: skip
        with self._engine.connect() as connection:
            rows = connection.execute(_CHANGED, parameters).all()
        if any(row.state == "COMPLETE" for row in rows):
            self._compared.clear()
        if first := self._seen < 0:
            self._bare = {row.trial_id for row in rows if row.state == "COMPLETE"}
        for row in rows:
            self._seen = max(self._seen, row.trial_id)
            self._waiting.pop(row.trial_id, None)
            if (trial := _frozen(row)) is None:
                self._running.discard(row.trial_id)
                continue
            (self._running.add if trial.state == TrialState.RUNNING else self._running.discard)(row.trial_id)
            if row.is_own:
                self._take_own(trial)
            else:
                self._take_other(trial)
        if first:
            self._fallen.clear()  # other workers have seen these fall

    def _take_own(self, trial: FrozenTrial) -> None:
        self._own.add(trial._trial_id)
        self._put(trial._trial_id, trial)
        if trial.state == TrialState.COMPLETE and trial._trial_id not in self._complete:
            self._complete[trial._trial_id] = None
            self._rank(trial)

    def _take_other(self, trial: FrozenTrial) -> None:
        self._drop(trial._trial_id)
        if trial.state == TrialState.WAITING:
            self._waiting[trial._trial_id] = trial
        elif trial.state.is_finished() and (learned := self._learn(trial)) is not None:
            self._put(trial._trial_id, learned)

    @property
    def running(self) -> int:
        """How many trials ran at the last reading."""
        return len(self._running)

    def waiting(self) -> list[FrozenTrial]:
        """Return the trials that other programs enqueued, as `refresh` last read them, the oldest first."""
        return [self._waiting[trial_id] for trial_id in sorted(self._waiting)]

    def own(self) -> list[FrozenTrial]:
        """Return the trials of the study's own slots, by number."""
        return [trial for trial in self._ordered if trial._trial_id in self._own]

    def sound_values(self) -> list[float]:
        """Return the values of the slots' sound trials."""
        complete = [self._trials[trial_id] for trial_id in self._complete]
        return [t.value for t in complete if t.value is not None and is_sound(t)]

    def study(self) -> optuna.Study:
        """Return a new Optuna study over these trials. An Optuna study caches them, so make one for each proposal."""
        return optuna.Study("history", self)

    def best(self) -> list[FrozenTrial]:
        """Return the three best complete trials that violate no constraint, best first; ties go to the lower number."""
        return self._best

    def complete(self, others: int) -> optuna.Study:
        """Return a study of the best complete trial and at most that many others, spread over time, with curves."""
        if others in self._compared:
            return self._compared[others]
        chosen = set(_spread(self._complete, others))
        if self._best:
            chosen.add(self._best[0]._trial_id)
        self._compared[others] = self._with_curves(chosen)
        return self._compared[others]

    def ended(self, others: int) -> optuna.Study:
        """Return a study of at most so many complete and pruned trials, spread over time, with curves."""
        ended = self.get_all_trials(0, states=(TrialState.COMPLETE, TrialState.PRUNED))
        return self._with_curves(_spread([trial._trial_id for trial in ended], others))

    def _with_curves(self, chosen: Iterable[int]) -> optuna.Study:
        """Return a study of some trials, by their ids, whose curves are read now if they were not yet."""
        chosen = list(chosen)
        missing = [trial_id for trial_id in chosen if trial_id in self._bare]
        if missing:
            with self._engine.connect() as connection:
                for trial_id, curve in connection.execute(_CURVES, {"trials": missing}):
                    self._trials[trial_id].intermediate_values = _curve(curve)
            self._bare.difference_update(missing)
        return study_of({i: self._trials[i] for i in chosen}, self._direction)

    def _rank(self, trial: FrozenTrial) -> None:
        if is_sound(trial):
            sign = -1 if self._direction == optuna.study.StudyDirection.MAXIMIZE else 1
            insort(self._best, trial, key=lambda t: (sign * (t.value or 0.0), t.number))
            self._fallen += [fallen.number for fallen in self._best[BEST:]]
            del self._best[BEST:]

    def fallen(self) -> list[int]:
        """Return the numbers of the trials that have left the best three since the last call."""
        fallen, self._fallen = self._fallen, []
        return fallen

    def trial(self, trial_id: int) -> FrozenTrial:
        """Return the trial with that Optuna id, as `refresh` last read it."""
        return self._trials[trial_id]


def _spread(trial_ids: Iterable[int], most: int) -> list[int]:
    """Return at most so many of some ids, evenly spread."""
    every = list(trial_ids)
    return every[:: -(-len(every) // most) or 1] if most else []


def study_of(trials: Mapping[int, FrozenTrial], direction: optuna.study.StudyDirection) -> optuna.Study:
    """Return an Optuna study of some trials, by their ids, for samplers and pruners to read."""
    return optuna.Study("history", TrialsView(dict(trials), direction))


def read_frozen_trials(engine: Engine, optuna_study_id: int) -> list[FrozenTrial]:
    """Return the trials of a study's slots as Optuna's records, by number; complete ones without their curves."""
    history = History(engine, optuna_study_id, maximize=False)  # which only the ranking needs
    history.refresh()
    return history.get_all_trials(0)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence Optuna's message about a new study in memory."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def is_feasible(trial: FrozenTrial) -> bool:
    """Return True if a trial violates no constraint: it neither diverged nor ran out of memory, nor is above a bound of
    its study."""
    return violation_of(trial) <= 0


def violation_of(trial: FrozenTrial) -> float:
    """Return by how much a trial violates its constraints in all; 0 where it violates none.

    A program that uses an older way of Optuna's gives all of them in a list. What is no number is infinitely bad.
    """
    found = [value for key, value in trial.system_attrs.items() if key.startswith(CONSTRAINT)]
    if isinstance(listed := trial.system_attrs.get("constraints", []), list | tuple):
        found += listed
    return sum(max(v, 0.0) if isinstance(v, int | float) and not math.isnan(v) else math.inf for v in found)


def is_sound(trial: FrozenTrial) -> bool:
    """Return True if a trial is complete with a value that is a finite number, and violates no constraint."""
    has_value = trial.value is not None and math.isfinite(trial.value)
    return trial.state == TrialState.COMPLETE and has_value and is_feasible(trial)


def _frozen(row: Any) -> FrozenTrial | None:
    """Return a trial as Optuna's record; None for another program's whose parameters make no sense.

    A slot's own trial is never left out. Its parameters were written with it: one that makes no sense is none of them.
    """
    params: dict[str, Any] = {}
    distributions: dict[str, BaseDistribution] = {}
    for name, value, kind in row.params or ():
        try:
            distribution = _distribution(kind)
            params[name] = distribution.to_external_repr(value)
        except _NO_SENSE:
            if not row.is_own:
                return None
        else:
            distributions[name] = distribution
    return FrozenTrial(
        number=row.number,
        state=TrialState[row.state],
        value=row.value,
        datetime_start=row.datetime_start,
        datetime_complete=row.datetime_complete,
        params=params,
        distributions=distributions,
        user_attrs={},
        system_attrs={key: from_json(value) for key, value in (row.attributes or {}).items()},
        intermediate_values=_curve(row.curve or ()),
        trial_id=row.trial_id,
    )


def _curve(points: Iterable[tuple[int, float]]) -> dict[int, float]:
    return dict(sorted((step, value) for step, value in points))


@lru_cache(maxsize=256)
def _distribution(text_: str) -> BaseDistribution:
    return json_to_distribution(text_)
