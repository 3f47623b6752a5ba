"""Assign a trial to a leased slot: the one that it has already, or a new one whose values the search proposes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Protocol

from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.trial import FrozenTrial, TrialState

from caviar.storage.errors import LeaseLost
from caviar.storage.records import Lease, Slot
from caviar.storage.states import Phase
from caviar.studies.search.other_programs import CannotTake, FixedValues, fixed_values
from caviar.studies.search.plan import by_model
from caviar.studies.search.strategies import Proposer
from caviar.studies.space.search_space import Proposal
from caviar.studies.workers.context import WorkerContext
from caviar.studies.workers.trial.build import held_in_cohort


class Assigner(Protocol):
    """Assigns trials to leased slots."""

    def assign(self, lease: Lease, partner: FrozenTrial | None) -> FrozenTrial: ...


class TrialAssigner:
    """Assigns trials to the slots that one worker leases, as the study's strategy proposes them."""

    def __init__(self, context: WorkerContext) -> None:
        self._context = context
        self._proposer = Proposer(context.study)
        self._held = {name: context.study.stored_names()[name] for name in held_in_cohort(context.study)}

    def assign(self, lease: Lease, partner: FrozenTrial | None) -> FrozenTrial:
        """Return the trial of a slot, which is begun if it is not yet; the worker may extend its curve.

        A new trial that a model proposes gets the values that members of a cohort have in common from its partner. The
        oldest trial that another program enqueued becomes a new one, with the values that it asks for.
        `LeaseLost` is raised if another worker has the slot, or the study was changed meanwhile.
        """
        self._context.outage.insist(lambda: self._context.history.refresh(lease.trial_id))
        if lease.trial_id is not None:
            return self._begun(lease.trial_id, lease.slot.number)
        return self._begin(lease, partner)

    def _begun(self, trial_id: int, number: int) -> FrozenTrial:
        """Return a copy of a trial: the history's own is shared with the samplers."""
        trial = self._context.history.trial(trial_id)
        if self._context.study.distributions().keys() - trial.params.keys():
            raise LeaseLost(number, "the study was changed after it was leased")
        return running(trial.number, trial_id, trial.params, trial.distributions, trial.intermediate_values)

    def _begin(self, lease: Lease, partner: FrozenTrial | None) -> FrozenTrial:
        context, slot, distributions = self._context, lease.slot, self._context.study.distributions()
        while True:
            waiting, given = self._next_waiting(slot)
            proposal = self._propose(slot, partner, given)
            begin = partial(
                context.log.begin, lease,
                {n: (proposal.internal[n], distribution_to_json(kind)) for n, kind in distributions.items()},
                self._attributes(slot, proposal), waiting,
            )  # fmt: skip
            trial_id = context.outage.insist(begin)
            if trial_id is not None:
                return running(slot.number, trial_id, proposal.stored, distributions)
            context.outage.insist(context.history.refresh)  # somebody was quicker to take the trial that waited

    def _propose(self, slot: Slot, partner: FrozenTrial | None, given: FixedValues) -> Proposal:
        study, fixed = self._context.study, dict(given.stored)
        # Where all that is free is held nothing would be left to choose, and every trial the same.
        if partner and by_model(study, slot) and not self._held.keys() >= set(slot.free):
            fixed = {stored: partner.params[stored] for stored in self._held.values()} | fixed
        proposal = self._proposer.propose(self._context.history.study(), slot, fixed)
        if not given.values or study.by_trials:
            return proposal
        zoom = {name: ends for name, ends in proposal.zoom.items() if name not in given.values}
        return study.proposal({**proposal.values, **given.values}, {**proposal.stored, **given.stored}, zoom)

    def _attributes(self, slot: Slot, proposal: Proposal) -> dict[str, Any]:
        process = self._context.process
        attributes = {"slot": slot.number, "tier": slot.tier, "phase": slot.phase}
        attributes |= {"worker": f"{process.host}:{process.pid}"}
        # Momentum beside one_minus_momentum, which is what Optuna has.
        attributes |= {n: v for n, v in proposal.values.items() if n not in proposal.stored}
        return attributes | ({"zoom": dict(proposal.zoom)} if proposal.zoom else {})

    def _next_waiting(self, slot: Slot) -> tuple[int | None, FixedValues]:
        """Return Optuna's id of the enqueued trial that a slot takes, and its values; None and none if there is none.

        The default configuration and the best of an earlier study are trained in any case. A trial whose values no
        slot can have is refused, with an event.
        """
        context = self._context
        if slot.phase not in (Phase.DEFAULT, Phase.PRIOR):
            for trial in context.history.waiting():
                try:
                    return trial._trial_id, fixed_values(context.study, trial)
                except CannotTake as error:
                    refuse = partial(
                        context.log.refuse, context.record.study_id, trial._trial_id, trial.number, str(error)
                    )
                    context.outage.insist(refuse)
        return None, FixedValues({}, {})


def running(
    number: int,
    trial_id: int = -1,
    params: Mapping[str, Any] | None = None,
    distributions: Mapping[str, BaseDistribution] | None = None,
    curve: Mapping[int, float] | None = None,
) -> FrozenTrial:
    """Return a running trial that no storage holds: the worker may extend its curve."""
    return FrozenTrial(
        number=number, state=TrialState.RUNNING, value=None, datetime_start=None, datetime_complete=None,
        params=dict(params or {}), distributions=dict(distributions or {}), user_attrs={},
        system_attrs={}, intermediate_values=dict(curve or {}), trial_id=trial_id,
    )  # fmt: skip
