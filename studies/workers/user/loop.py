"""The loop over the epochs of one trial: what the user's code and the worker that drives it have in common."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from caviar.epoch import Epoch, check_metrics
from caviar.models.training import never
from caviar.studies.errors import TrialMisused
from caviar.studies.workers.trial.training import Ended
from caviar.studies.workers.user.loaders import with_new_workers
from caviar.studies.workers.user.parts import Parts
from caviar.studies.workers.user.seeds import seed_all
from caviar.user_code import calling_line

Batch = TypeVar("Batch")
Turn = Callable[[Epoch | None], Ended | None]


class EpochLeft(BaseException):
    """The epoch is left in its middle; no `except Exception` of the user's code is to hold it."""


class Loop:
    """The epochs of one trial.

    Args:
        seed: what the trial's random numbers depend on; each epoch has numbers of its own.
        last: the number of the last epoch.
        state: the `state()` of an earlier process; None for a trial that begins.
        turn: gives the worker its turn, with an epoch that is trained, or None before the first; returns, when it is
            the user's turn again, why the trial goes on no more, or None if it does.
        rank: number of this process among those that train the trial together.
        may_be_silent: whether an epoch may report nothing: for one of several ranks, whose reports are compared.

    Attributes:
        epoch: number of the last epoch that was trained; 0 before the first.
        ended: why the trial goes on no more; None while it does.
        leave: returns whether the epoch is to be left where it is.
        unwinds: whether an epoch is left by an exception; else its batches end, and what it reports does not count.
        is_left: whether an epoch was left in its middle.
        places: where each metric of the last epoch was reported, by name, as `tune.py:12`.
        is_over: whether the code has left its loop by itself, here or in the process that `state` is from.
    """

    def __init__(
        self, seed: tuple[int | str, ...], last: int, state: Mapping[str, Any] | None, turn: Turn, rank: int = 0,
        *, may_be_silent: bool = False,
    ) -> None:  # fmt: skip
        self.epoch: int = state["epoch"] if state else 0
        self.last = last
        self.ended: Ended | None = None
        self.leave: Callable[[], bool] = never
        self.unwinds, self.is_left = True, False
        self.places: dict[str, str] = {}
        self.is_over = bool(state and state.get("is_over"))
        self._seed, self._turn, self._may_be_silent = seed, turn, may_be_silent
        self._own_seed = () if rank == 0 else ("rank", rank)  # each draws numbers of its own, such as of dropout
        self.parts = Parts(state["parts"] if state else None, is_saved=rank == 0)
        self._metrics: dict[str, float] | None = None  # of the epoch in progress
        self._started = 0.0
        self._began = False

    def keep(self, objects: Mapping[str, Any]) -> None:
        """Save these objects between epochs, and restore them at once if the trial goes on."""
        if self._began:
            raise TrialMisused("trial.keep() was called in the loop over trial.epochs(); call it before")
        self.parts.add(objects, reverts=not self.unwinds)
        self._begin_anew_if_refused()

    def _begin_anew_if_refused(self) -> None:
        if self.parts.refused is not None:
            self.epoch, self.is_over = 0, False

    def state(self) -> dict[str, Any] | None:
        """Return the states of the objects in `keep`; None if there are none."""
        return {"epoch": self.epoch, "is_over": self.is_over, "parts": self.parts.states()} if self.parts else None

    def epochs(self) -> Iterator[int]:
        """Yield the number of each epoch that is to be trained."""
        if self._began:
            raise TrialMisused("trial.epochs() was called twice; a trial has one loop")
        while self.begin_epoch():
            yield self.epoch + 1
            self.end_epoch()

    def begin_epoch(self) -> bool:
        """Begin the next epoch, and seed it; return False if the trial goes on no more."""
        if not self._began:
            self.parts.check_restored(reverts=not self.unwinds)
            self._begin_anew_if_refused()
            self._began = True
            self.ended = self._turn(None)
        goes_on = self.ended is None and not self.is_over
        if goes_on:
            seed_all(*self._seed, self.epoch + 1, *self._own_seed)
            self._metrics, self.places, self._started = {}, {}, time.perf_counter()
        return goes_on

    def end_epoch(self, *, is_last: bool = False) -> bool:
        """Give the worker the epoch that was trained, with what it reported; return False if the trial ends with it.

        Args:
            is_last: whether the code leaves its loop with it by itself.
        """
        if self.is_left:
            self.ended = Ended.GIVEN_BACK
            return False
        if self._metrics is None or not (self._metrics or self._may_be_silent):
            raise TrialMisused(f"epoch {self.epoch + 1} reported nothing; call trial.report(...) in each epoch")
        self.is_over |= is_last
        self.ended = self._turn(self._finished(self._metrics, is_last=is_last))
        return self.ended is None

    def leave_loop(self) -> Epoch | None:
        """Return the epoch in which the code has left its loop by itself; None if it has reported nothing in it."""
        self.is_over |= self.ended is None
        return self._finished(self._metrics, is_last=True) if self._metrics else None

    def _finished(self, metrics: dict[str, float], *, is_last: bool) -> Epoch:
        self.epoch += 1
        self._metrics = None
        return Epoch(self.epoch, metrics, time.perf_counter() - self._started, is_last)

    def report(self, metrics: Mapping[str, Any]) -> None:
        """Add metrics to the epoch in progress."""
        if self.is_left:
            return
        if self._metrics is None:
            raise TrialMisused("trial.report() was called outside of the loop over trial.epochs()")
        try:
            self._metrics = check_metrics({**self._metrics, **metrics})
        except ValueError as error:
            raise TrialMisused(f"trial.report(): {error}") from None
        self.places.update(dict.fromkeys(metrics, calling_line()))

    def batches(self, source: Iterable[Batch]) -> Iterator[Batch]:
        """Yield batches; between two of them the worker gives a sign of life, and may leave the epoch."""
        for batch in with_new_workers(source):
            if not self.goes_on():
                return
            yield batch

    def goes_on(self) -> bool:
        """Give a sign of life between two batches; return False, or raise EpochLeft, if the epoch is to be left."""
        if not self.leave():
            return True
        self.is_left, self._metrics = True, None
        if self.unwinds:
            raise EpochLeft
        return False
