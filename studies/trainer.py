"""One leased slot: choose its values or take its trial up, and train it.

Training code is expected to fail in its own ways; whatever it raises ends its trial, not the worker.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from storage.errors import DatabaseAway, LeaseLost
from storage.records import Lease
from studies.heartbeat import Heartbeat
from studies.plan import Slot
from studies.strategies import Proposer
from studies.trial_run import TrialRun
from studies.worker_context import WorkerContext


class Trainer:
    """Trains the slots that one worker leases."""

    def __init__(self, context: WorkerContext) -> None:
        self._context = context
        self._proposer = Proposer(context.study)
        self._sender = ThreadPoolExecutor(1, thread_name_prefix="outbox")

    def work_on(self, lease: Lease) -> None:
        """Train a leased slot to its end, or until the worker is asked to stop.

        Raises:
            DatabaseAway: the patience is over; what was not written is kept on this machine.
        """
        context = self._context
        try:
            with Heartbeat(context.ledger, lease, context.order.renew_seconds) as heartbeat:
                context.outage.insist(context.history.refresh)
                trial = self._begin(lease) if lease.trial_id is None else self._take_up(lease.trial_id)
                TrialRun(context, lease, trial, heartbeat, self._sender).run()
        except LeaseLost:
            context.release(lease)  # another worker has it, or its study was changed: nothing was written for it here
        except DatabaseAway:
            raise
        except Exception:
            with suppress(SQLAlchemyError):  # at once, for another machine; else when the lease expires
                context.ledger.release(lease)
            raise

    def _take_up(self, trial_id: int) -> FrozenTrial:
        """Return a trial whose curve this worker may extend; the history's own is shared with the samplers."""
        trial = self._context.history.trial(trial_id)
        if self._context.study.distributions().keys() - trial.params.keys():
            raise LeaseLost("the study was changed after this slot was leased")
        return _running(trial.number, trial_id, trial.params, trial.distributions, trial.intermediate_values)

    def _begin(self, lease: Lease) -> FrozenTrial:
        """Choose the values of a slot and make its trial."""
        study, history, process = self._context.study, self._context.history, self._context.process
        slot = Slot(lease.slot.number, lease.slot.tier, lease.slot.phase, lease.slot.free)
        history.notes.clear()
        stored = self._proposer.propose(slot, history.study(), _running(slot.number))
        distributions, values = study.distributions(), study.trained(stored)
        parameters = {n: (d.to_internal_repr(stored[n]), distribution_to_json(d)) for n, d in distributions.items()}
        attributes = {
            "tier": slot.tier,
            "phase": slot.phase,
            "worker": f"{process.host}:{process.pid}",
            **{n: v for n, v in values.items() if n not in stored},  # momentum beside one_minus_momentum
            **history.notes,
        }
        trial_id = self._context.outage.insist(lambda: self._context.log.begin(lease, parameters, attributes))
        return _running(slot.number, trial_id, stored, distributions)


def _running(
    number: int,
    trial_id: int = -1,
    params: Mapping[str, Any] | None = None,
    distributions: Mapping[str, BaseDistribution] | None = None,
    curve: Mapping[int, float] | None = None,
) -> FrozenTrial:
    return FrozenTrial(
        number=number, state=TrialState.RUNNING, value=None, datetime_start=None, datetime_complete=None,
        params=dict(params or {}), distributions=dict(distributions or {}), user_attrs={}, system_attrs={},
        intermediate_values=dict(curve or {}), trial_id=trial_id,
    )  # fmt: skip
