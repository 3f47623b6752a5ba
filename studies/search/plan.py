"""The plan of a search: which tier and phase each slot of its budget belongs to, and which hyperparameters are free.

Pure: the same search space gives the same plan on every machine.

`tiered` has one plan at every budget, of which a small one is the beginning: a larger budget never does worse with its
first trials, and one that is raised goes on where it was. After the default come three coarse trials of the first tier,
one from each quarter of the range that the default is not in, and three of all tiers: the first near its best, the
others anywhere. Then a model chooses everything. The later tiers open together, since nothing speaks for one before the
other: on the development tables of benchmarks/search the regret after 5, 10 and 20 trials is 0.17, 0.15 and 0.09 so,
0.20, 0.17 and 0.12 with tier 2 before tier 3, and 0.19, 0.15 and 0.11 with the model from the fifth trial on (5 seeds).

`classic` is the documented method without a model: the tiers share the budget as 20, 30 and 50 %, a fourth gets as much
again as 40. Half of a tier's trials are coarse, over the whole range; the others fine, zoomed in on what was good.

In both the tiers stay open: freezing the winners of earlier tiers loses to TPE from 20 trials on.
"""

from __future__ import annotations

from caviar.storage.records import Slot
from caviar.storage.states import Phase
from caviar.studies.space.search_space import SearchSpace

COARSE = 3  # slots of the first tier in the strategy `tiered`, and then again of all tiers, before the model
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
        slots += [Slot(first + place, 1, Phase.COARSE, names[0]) for place in range(COARSE)]
        if len(names) > 1:
            slots += [Slot(len(slots) + place, len(names), Phase.COARSE, everything) for place in range(COARSE)]
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
    """Return which of the first tier's coarse slots in `tiered` a slot is, from 0; None if it is none of them."""
    place = slot.number - (2 if space.prior else 1)
    return place if space.strategy == "tiered" and slot.phase == Phase.COARSE and place < COARSE else None


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
