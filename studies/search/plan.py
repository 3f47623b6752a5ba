"""The plan of a search: which tier and phase each slot of its budget belongs to, and which hyperparameters are free.

Pure: the same search space gives the same plan on every machine. The schedules, and the measurements behind them (mean
regret on six tables of trained networks, 20 seeds; 0 is the best of a table, 1 a median configuration):

- Up to 15 trials the tiers share the budget as 20, 30 and 50 %; a fourth gets as much again as 40. Half of a tier's
  trials are coarse, over the whole range; the others fine, zoomed in on what was good. It needs no model, and is best
  where there is nothing to learn from: 0.180 after 10 trials, where a model is at 0.217 and random search at 0.221.
- From 16 on, four coarse trials of the first tier, five of the first two, then everything is free, and all but the
  coarse ones are chosen by a model: its prototype reaches 0.123 after 20 trials and 0.077 after 50. The tiers of a
  small budget first, then Optuna's GPSampler, reach 0.133 and 0.094; TPE from the same default 0.175 and 0.127.

Tiers stay open: freezing the winners of earlier tiers loses to TPE from 20 trials on.
"""

from __future__ import annotations

from caviar.storage.records import Slot
from caviar.storage.states import Phase
from caviar.studies.space.search_space import SearchSpace

SMALL_BUDGET = 15
COARSE, FINE = 4, 5  # slots of a larger budget before everything is free
_SHARES = (20, 30, 50, 40)


def plan(space: SearchSpace) -> list[Slot]:
    """Return the slots of a budget; slot 0 is the default configuration, slot 1 the best of a prior."""
    names = space.names()
    everything = sum(names, ())
    slots = [Slot(0, 1, Phase.DEFAULT, ())]
    if space.prior:
        slots.append(Slot(1, 1, Phase.PRIOR, ()))
    first = len(slots)
    if _with_model(space):
        second = min(2, len(names))
        slots += [Slot(first + place, 1, Phase.COARSE, names[0]) for place in range(COARSE)]
        slots += [Slot(first + COARSE + place, second, Phase.FINE, sum(names[:second], ())) for place in range(FINE)]
    elif space.strategy in ("tiered", "classic"):
        for tier, span in enumerate(_spans(space), start=1):
            free = sum(names[:tier], ())
            searched = span[first:] if tier == 1 else span
            for place, number in enumerate(searched):
                phase = Phase.COARSE if place < (len(searched) + 1) // 2 else Phase.FINE
                slots.append(Slot(number, tier, phase, free))
    phase = Phase.ALL if space.strategy in ("tiered", "classic") else Phase(space.strategy)
    slots += [Slot(number, len(names), phase, everything) for number in range(len(slots), space.budget)]
    return slots


def stratum(space: SearchSpace, slot: Slot) -> int | None:
    """Return the part of each free range that belongs to a slot; None if its values are chosen in another way."""
    if not _with_model(space) or slot.phase != Phase.COARSE:
        return None
    return slot.number - (2 if space.prior else 1)


def by_model(space: SearchSpace, slot: Slot) -> bool:
    """Return whether a model chooses a slot's values."""
    return _with_model(space) and slot.phase in (Phase.FINE, Phase.ALL)


def _with_model(space: SearchSpace) -> bool:
    return space.strategy == "tiered" and space.budget > SMALL_BUDGET


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
