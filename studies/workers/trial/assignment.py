"""From a leased slot to its trial: the one that it has, or a new one with values that are chosen for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol

from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.trial import FrozenTrial, TrialState

from caviar.storage.errors import LeaseLost
from caviar.storage.records import Lease
from caviar.studies.search.plan import by_model
from caviar.studies.search.strategies import Proposer
from caviar.studies.workers.context import WorkerContext
from caviar.studies.workers.trial.build import held_in_cohort


class Choose(Protocol):
    """What says which trial a leased slot has."""

    def trial(self, lease: Lease, beside: FrozenTrial | None) -> tuple[Lease, FrozenTrial]: ...


class Chooser:
    """Chooses for the slots that one worker leases."""

    def __init__(self, context: WorkerContext) -> None:
        self._context = context
        self._proposer = Proposer(context.study)
        self._held = {name: context.study.stored_names()[name] for name in held_in_cohort(context.study)}

    def trial(self, lease: Lease, beside: FrozenTrial | None) -> tuple[Lease, FrozenTrial]:
        """Return the trial of a slot, whose curve the worker may extend, and the lease with that trial's id.

        Args:
            beside: a trial that it will be trained together with: chosen by a model, it gets the same values of what
                members of a cohort have in common.

        Raises:
            LeaseLost: another worker has the slot, or the study was changed meanwhile.
            DatabaseAway: the patience is over.
        """
        self._context.outage.insist(lambda: self._context.history.refresh(lease.trial_id))
        if lease.trial_id is not None:
            return lease, self._begun(lease.trial_id)
        return self._begin(lease, beside)

    def _begun(self, trial_id: int) -> FrozenTrial:
        """Return a copy of a trial: the history's own is shared with the samplers."""
        trial = self._context.history.trial(trial_id)
        if self._context.study.distributions().keys() - trial.params.keys():
            raise LeaseLost("the study was changed after this slot was leased")
        return running(trial.number, trial_id, trial.params, trial.distributions, trial.intermediate_values)

    def _begin(self, lease: Lease, beside: FrozenTrial | None) -> tuple[Lease, FrozenTrial]:
        study, history, process = self._context.study, self._context.history, self._context.process
        slot = lease.slot
        fixed = {}
        # Where all that is free is held nothing would be left to choose, and every trial the same.
        if beside and by_model(study, slot) and not self._held.keys() >= set(slot.free):
            fixed = {stored: beside.params[stored] for stored in self._held.values()}
        proposal = self._proposer.propose(history.study(), slot, fixed)
        distributions = study.distributions()
        parameters = {n: (proposal.internal[n], distribution_to_json(kind)) for n, kind in distributions.items()}
        attributes = {
            "tier": slot.tier,
            "phase": slot.phase,
            "worker": f"{process.host}:{process.pid}",
            **{
                n: v for n, v in proposal.values.items() if n not in proposal.stored
            },  # momentum, not one_minus_momentum
            **({"zoom": dict(proposal.zoom)} if proposal.zoom else {}),
        }
        trial_id = self._context.outage.insist(lambda: self._context.log.begin(lease, parameters, attributes))
        return replace(lease, trial_id=trial_id), running(slot.number, trial_id, proposal.stored, distributions)


def running(
    number: int,
    trial_id: int = -1,
    params: Mapping[str, Any] | None = None,
    distributions: Mapping[str, BaseDistribution] | None = None,
    curve: Mapping[int, float] | None = None,
) -> FrozenTrial:
    return FrozenTrial(
        number=number, state=TrialState.RUNNING, value=None, datetime_start=None, datetime_complete=None,
        params=dict(params or {}), distributions=dict(distributions or {}), user_attrs={},
        system_attrs={}, intermediate_values=dict(curve or {}), trial_id=trial_id,
    )  # fmt: skip
