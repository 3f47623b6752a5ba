"""The plan of a search: which tier and phase each slot of its budget belongs to, and which hyperparameters are free.

Pure: the same search space gives the same plan on every machine.

`tiered` has one plan at every budget, of which a small one is the beginning: a larger budget never does worse with its
first trials, and one that is raised goes on where it was. After the default configuration five trials are coarse, and
the tiers open one after the other: two of the first tier alone, then one for each further tier (the last one has what
is left of the five). The first three are in quarters of the first tier's ranges that the default is not in, the others
near its best; a tier that opens is anywhere in its ranges. Then a model chooses everything; only while half of the
trials or more share the best loss, as where all of them diverge, a slot is anywhere.

`classic` is the documented method without a model: the tiers share the budget as 20, 30 and 50 %, a fourth gets as much
again as 40. Half of a tier's trials are coarse, over the whole range; the others fine, zoomed in on what was good.

In both the tiers stay open: freezing the winners of earlier tiers loses to TPE from 20 trials on.
"""

from __future__ import annotations

from caviar.storage.records import Slot
from caviar.storage.states import Phase
from caviar.studies.space.search_space import SearchSpace

STRATA = 3  # slots of `tiered` that have a part of the first tier's ranges to themselves, beside the default
_OPENING = (1, 1, 2, 3, 4)  # the newest tier of each slot of `tiered` between the default and the model
PLANNED = 3 + len(_OPENING)  # slots of `tiered`, with the default and the best of a prior, of which a model chooses one
_SHARES = (20, 30, 50, 40)


def plan(space: SearchSpace) -> list[Slot]:
    """Return the slots of a budget; slot 0 is the default configuration, slot 1 the best of a prior."""
    names = space.names()
    everything = sum(names, ())
    slots = [Slot(0, 1, Phase.DEFAULT, ())]
    if space.prior:
        slots.append(Slot(1, 1, Phase.PRIOR, ()))
    first = len(slots)
    if space.strategy == "tiered":
        for number, newest in enumerate(_OPENING[: STRATA if len(names) == 1 else None], start=first):
            tier = min(newest, len(names))
            slots.append(Slot(number, tier, Phase.COARSE, sum(names[:tier], ())))
    elif space.strategy == "classic":
        for tier, span in enumerate(_spans(space), start=1):
            free = sum(names[:tier], ())
            searched = span[first:] if tier == 1 else span
            for place, number in enumerate(searched):
                phase = Phase.COARSE if place < (len(searched) + 1) // 2 else Phase.FINE
                slots.append(Slot(number, tier, phase, free))
    phase = Phase.ALL if space.strategy in ("tiered", "classic") else Phase(space.strategy)
    slots += [Slot(number, len(names), phase, everything) for number in range(len(slots), space.budget)]
    return slots[: space.budget]


def stratum(space: SearchSpace, slot: Slot) -> int | None:
    """Return which part of the first tier's ranges belongs to a slot, from 0; None if none does."""
    place = slot.number - (2 if space.prior else 1)
    return place if space.strategy == "tiered" and slot.phase == Phase.COARSE and place < STRATA else None


def by_model(space: SearchSpace, slot: Slot) -> bool:
    """Return whether a model chooses a slot's values."""
    return space.strategy == "tiered" and slot.phase == Phase.ALL


def _spans(space: SearchSpace) -> list[range]:
    """Return the slots in which each tier is the newest; the first span includes the default configuration and the
    best of a prior."""
    tiers, more = len(space.names()), 1 if space.prior else 0
    total, budget = sum(_SHARES[:tiers]), space.budget - more
    ends = [round(budget * sum(_SHARES[: tier + 1]) / total) for tier in range(tiers)]
    for tier in range(tiers):  # at least one slot each, however small the budget
        ends[tier] = max(ends[tier], tier + 1)
    for tier in reversed(range(tiers)):
        ends[tier] = min(ends[tier], budget - (tiers - 1 - tier))
    ends = [end + more for end in ends]
    return [range(start, end) for start, end in zip([0, *ends], ends, strict=False)]
