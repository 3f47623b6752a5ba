"""The questions that a report must answer by itself, each in a sentence with its evidence and what to do about it.

Source of the questions: Google Research, Deep Learning Tuning Playbook, "Extracting insight from experiment results",
https://github.com/google-research/tuning_playbook.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from studies.confirmation import in_words

_EDGE = 0.05  # of a scale, at each end
_NEAR = 2.0  # times the noise of an epoch: trials that are as good as the best
_ENOUGH = 5  # trials near the best
_LAST = 4  # a quarter of the epochs: the last ones
_TOP = 5  # trials whose curves are looked at
_SOME, _SHIFT = 3, 0.15  # diverged trials, and how far on a scale they are from others, to say where they are
_WORSE = 1.1  # times the lowest validation loss: overfit

Facts = dict[str, Any]


def answers(facts: Facts) -> list[dict[str, Any]]:
    """Return question, answer, and command (None where there is nothing to be done) of each question."""
    if facts["winner"] is None:
        return [_diverged(facts)] if facts["cost"]["done"] else []
    best = best_first(facts)
    noise = noise_of(best)
    return [
        _edge(facts),
        _enough(facts, best, noise),
        _diverged(facts),
        _still_improving(facts, best[:_TOP], noise),
        _overfit(best[:_TOP]),
        _ahead(facts, noise),
        _order(facts),
    ]


def noise_of(trials: Sequence[Facts]) -> float | None:
    """Return how much the value of a good trial changes from epoch to epoch at its end; None where that is unknown."""
    ends = [[value for _, value in t["curve"][-_LAST:] if value is not None] for t in trials[:_TOP]]
    spreads = [statistics.stdev(end) for end in ends if len(end) >= 3]
    return statistics.median(spreads) if spreads else None


def best_first(facts: Facts) -> list[Facts]:
    sign = -1 if facts["study"]["direction"] == "maximize" else 1
    sound = [t for t in facts["trials"] if t["state"] == "complete" and not t["violated"] and t["value"] is not None]
    return sorted(sound, key=lambda t: (sign * t["value"], t["trial"]))


def _answer(question: str, answer: str, command: str | None = None) -> dict[str, Any]:
    return {"question": question, "answer": answer, "command": command}


def _edge(facts: Facts) -> dict[str, Any]:
    name, winner = facts["study"]["name"], facts["trials"][facts["winner"]["trial"]]
    found, widen = [], []
    for h in facts["hyperparameters"]:
        side = _side(h, winner)
        if side and h["room"][side == "upper"]:
            found.append(f"{h['name']} ({winner['hyperparameters'][h['name']]:.4g}, the {side} end of {h['scale']})")
            widen.append(f"--widen {h['name']}")
    question = "Is the best point at the edge of its range?"
    if not found:
        return _answer(question, "No: every hyperparameter of the winner is inside its range.")
    told = "Yes: " + ", ".join(found) + "; better values may lie beyond."
    return _answer(question, told, f"caviar retune {name} --name {name}-wider {' '.join(widen)}")


def _side(h: Facts, trial: Facts) -> str | None:
    """Return at which end of its range a hyperparameter of a trial is."""
    if h["name"] not in trial["units"]:
        return None
    unit, value = trial["units"][h["name"]], trial["hyperparameters"][h["name"]]
    if h["discrete"]:
        return "lower" if value == h["first"] else "upper" if value == h["last"] else None
    if h.get("or_zero") and value == 0:
        return None  # which has no place on its axis: it is not near the numbers that are
    return "lower" if unit <= _EDGE else "upper" if unit >= 1 - _EDGE else None


def _enough(facts: Facts, best: Sequence[Facts], noise: float | None) -> dict[str, Any]:
    question, study = "Were enough points sampled?", facts["study"]
    if noise is None:
        return _answer(question, "The curves are too short to say what noise is.")
    near = sum(abs(t["value"] - best[0]["value"]) <= _NEAR * noise for t in best)
    told = f"{near} of {len(best)} complete trials are within the noise (± {_NEAR * noise:.4f}) of the best value"
    if near >= _ENOUGH:
        return _answer(question, f"Yes: {told}, so that more of them would change little.")
    if study["state"] != "done":
        return _answer(question, f"Not yet: {told}.", f"caviar run {study['name']}")
    command = f"caviar extend {study['name']} --budget {2 * study['budget']}"
    return _answer(question, f"Perhaps not: only {told}.", command)


def _diverged(facts: Facts) -> dict[str, Any]:
    question, done = "What share of the trials diverged, and where?", facts["cost"]["done"]
    bad = [t for t in facts["trials"] if t["violated"] == "diverged"]
    if not bad:
        return _answer(question, f"None of {done}.")
    fine = [t for t in facts["trials"] if t["state"] in ("complete", "pruned") and not t["violated"]]
    shifts = {}
    for h in facts["hyperparameters"]:
        there, here = ([t["units"][h["name"]] for t in group if h["name"] in t["units"]] for group in (bad, fine))
        if there and here:
            shifts[h["name"]] = statistics.mean(there) - statistics.mean(here)
    told = f"{len(bad)} of {done} ({len(bad) / done:.0%})"
    name = max(shifts, key=lambda n: abs(shifts[n]), default="")
    if len(bad) >= _SOME and abs(shifts.get(name, 0.0)) > _SHIFT:
        values = sorted(t["hyperparameters"][name] for t in bad if name in t["hyperparameters"])
        if all(isinstance(value, int | float) for value in values):
            told += f", most of all where {name} is {'large' if shifts[name] > 0 else 'small'}: "
            told += f"{values[0]:.4g} to {values[-1]:.4g}"
    spent = sum(t["epochs"] for t in bad)
    return _answer(question, f"{told}. They took {spent} of {facts['cost']['epochs']} epochs.")


def _still_improving(facts: Facts, top: Sequence[Facts], noise: float | None) -> dict[str, Any]:
    question, epochs = "Do the best curves still improve at their last epoch?", facts["study"]["epochs"]
    sign = 1 if facts["study"]["direction"] == "maximize" else -1
    improving = []
    for t in top:
        curve = [value for _, value in t["curve"] if value is not None]
        last = max(1, len(curve) // _LAST)
        if len(curve) >= 2 * _LAST:
            gain = statistics.mean(curve[-last:]) - statistics.mean(curve[-2 * last : -last])
            improving.append(sign * gain > (noise or 0.0))
    if not improving:
        return _answer(question, "The curves are too short to tell.")
    told = f"{sum(improving)} of the best {len(improving)} do, by more than their noise"
    if 2 * sum(improving) > len(improving):
        return _answer(question, f"Yes: {told}. Train longer: a study with epochs={2 * epochs} in its file.")
    return _answer(question, f"No: {told}. {epochs} epochs are enough.")


def _overfit(top: Sequence[Facts]) -> dict[str, Any]:
    found, looked = [], 0
    for t in top:
        losses = [validation for _, validation in t["losses"]]
        known = [loss for loss in losses if loss is not None]
        looked += len(known) >= _LAST
        if len(known) >= _LAST and losses[-1] is not None and losses[-1] > _WORSE * min(known):
            found.append(losses.index(min(known)) + 1)
    question = "Do they overfit?"
    if not looked:
        return _answer(question, "The curves are too short to tell.")
    if 2 * len(found) <= looked:
        return _answer(question, f"No: the validation loss of {looked - len(found)} of the best {looked} ends low.")
    told = f"Yes: the validation loss of {len(found)} of the best {looked} was lowest around epoch "
    return _answer(
        question, f"{told}{statistics.median(found):.0f}. Train shorter, or with more dropout or weight decay."
    )


def _ahead(facts: Facts, noise: float | None) -> dict[str, Any]:
    question, winner = "Is the winner better than the runner-up by more than its noise?", facts["winner"]
    if facts["runner_up"] is None:
        return _answer(question, "There is no other complete trial.")
    if confirmed := winner["confirmation"]:
        verdict = {"better": "Yes", "worse": "No", "open": "It cannot be told"}[confirmed["verdict"]]
        return _answer(question, f"{verdict}: {in_words(confirmed)}.")
    other = facts["trials"][facts["runner_up"]]
    study, sign = facts["study"], 1 if facts["study"]["direction"] == "maximize" else -1
    confirm = f"caviar best {study['name']} --confirm 5" if study["state"] == "done" else None
    apart = sign * (winner["value"] - other["value"])
    told = f"trial {other['trial']} came to {other['value']:.4f}, the winner to {winner['value']:.4f}"
    if apart < 0:
        told = f"Not by its value: {told}; but of another training of the winner more is expected."
        return _answer(question, told, confirm)
    expected = winner["expected"]
    if expected and expected["low"] <= other["value"] <= expected["high"]:
        return _answer(question, f"It cannot be told: {told}, and its other trainings may come to either.", confirm)
    if noise is not None and apart <= _NEAR * noise:
        return _answer(question, f"It cannot be told: {told}, within the noise of one epoch.", confirm)
    return _answer(question, f"It seems so: {told}; one training of each cannot say more.")


def _order(facts: Facts) -> dict[str, Any]:
    question, found = "Which hyperparameters mattered, and did the documented order hold?", facts["importance"]
    if found is None:
        return _answer(question, "Ten finished trials of different values are needed to say.")
    first = found["hyperparameters"][0]
    told = f"{first['name']} decided most ({first['share']:.0%}, {first['low']:.0%} to {first['high']:.0%})"
    return _answer(question, f"{told}; {'; '.join(found['words'])}.")
