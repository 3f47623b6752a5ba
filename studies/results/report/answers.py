"""The questions that a report must answer by itself, each in a sentence with its evidence and what to do about it.

Source of the questions: Google Research, Deep Learning Tuning Playbook, "Extracting insight from experiment results",
https://github.com/google-research/tuning_playbook.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any

from caviar.studies.results.confirmation import Confirmation, in_words
from caviar.studies.results.report.noise import Noise, noise_of
from caviar.studies.space.scales import read_scale

_EDGE = 0.05  # of a scale, at each end
_NEAR = 2.0  # times the noise: what is no further apart cannot be told from luck
_ENOUGH = 5  # trials near the best
_LAST = 4  # a quarter of the epochs: the last ones
_TOP = 5  # trials whose curves are looked at
_LATE = 0.75  # of the epochs: a validation loss that was lowest later than that is no reason to train shorter
_SOME, _SHIFT = 3, 0.15  # diverged trials, and how far on a scale they are from others, to say where they are
_WORSE = 1.1  # times the lowest validation loss: overfit

_UNKNOWN = "one training of each does not show how much they vary"

Facts = dict[str, Any]


def answers(facts: Facts) -> list[dict[str, Any]]:
    """Return question, answer, and command (None where there is nothing to be done) of each question."""
    if facts["winner"] is None:
        return [_diverged(facts)] if facts["cost"]["done"] else []
    best = best_first(facts)
    noise = noise_of(facts, best)
    return [
        _edge(facts),
        _enough(facts, best, noise),
        _diverged(facts),
        _still_improving(facts, best[:_TOP], noise),
        _overfit(facts, best[:_TOP]),
        _ahead(facts, noise),
        _order(facts),
    ]


def best_first(facts: Facts) -> list[Facts]:
    sign = -1 if facts["study"]["direction"] == "maximize" else 1
    sound = [t for t in facts["trials"] if t["state"] == "complete" and not t["violated"] and t["value"] is not None]
    return sorted(sound, key=lambda t: (sign * t["value"], t["trial"]))


def _answer(question: str, answer: str, command: str | None = None) -> dict[str, Any]:
    return {"question": question, "answer": answer, "command": command}


def _edge(facts: Facts) -> dict[str, Any]:
    winner = facts["trials"][facts["winner"]["trial"]]
    wider, listed, ends, widen = [], [], [], []
    for h in facts["hyperparameters"]:
        side = _side(h, winner)
        if side is None:
            continue
        told = f"{h['name']} ({winner['hyperparameters'][h['name']]:.4g}, the {side} end of {h['scale']})"
        if h["room"][side == "upper"]:
            wider.append(told)
            widen.append(f"--widen {h['name']}")
        elif any(h["room"]):
            ends.append(told)
        else:
            listed.append(told)
    question = "Is the best point at the edge of its range?"
    said = [
        *([f"{', '.join(wider)}: better values may lie beyond"] if wider else []),
        *([f"{', '.join(listed)}: to try others, name more values in a study's file"] if listed else []),
        *([f"{', '.join(ends)}: nothing lies beyond"] if ends else []),
    ]
    if not said:
        return _answer(question, "No: every hyperparameter of the winner is inside its range.")
    return _answer(question, f"Yes: {'; '.join(said)}.", _retune(facts, "wider", " ".join(widen)) if widen else None)


def _side(h: Facts, trial: Facts) -> str | None:
    """Return the end of its range that a hyperparameter of a trial is at; None inside, and for names without order."""
    if h["name"] not in trial["hyperparameters"]:
        return None
    return read_scale(h).end_near(trial["hyperparameters"][h["name"]], _EDGE)


def _enough(facts: Facts, best: Sequence[Facts], noise: Noise | None) -> dict[str, Any]:
    question, study = "Were enough points sampled?", facts["study"]
    if noise is None:
        return _answer(question, f"It cannot be told: {_UNKNOWN}.", _confirm(facts))
    reach = _NEAR * noise.deviation
    near = sum(abs(t["value"] - best[0]["value"]) <= reach for t in best)
    told = (
        f"{near} of {len(best)} complete trials are within the noise (± {reach:.4f}, {noise.source}) of the best value"
    )
    if near >= _ENOUGH:
        return _answer(question, f"Yes: {told}, so that more of them would change little.")
    if study["state"] != "done":
        return _answer(question, f"Not yet: only {told}.", f"caviar run {study['name']}")
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
        told += _where(name, large=shifts[name] > 0, bad=bad, fine=fine)
    spent = sum(t["epochs"] for t in bad)
    return _answer(question, f"{told}. They took {spent} of {facts['cost']['epochs']} epochs.")


def _where(name: str, *, large: bool, bad: Sequence[Facts], fine: Sequence[Facts]) -> str:
    """Say beyond which value of a hyperparameter trials diverged: the one that divides them best from the others, so
    that one far away does not stand for all. Nothing of names, which have no order."""
    sign = 1 if large else -1
    there, here = ([sign * t["units"][name] for t in group if name in t["units"]] for group in (bad, fine))
    values = {sign * t["units"][name]: t["hyperparameters"][name] for t in bad if name in t["units"]}
    if not all(isinstance(value, int | float) for value in values.values()):
        return ""

    def beyond(group: Sequence[float], unit: float) -> int:
        return sum(other >= unit for other in group)

    cut = max(values, key=lambda unit: beyond(there, unit) / len(there) - beyond(here, unit) / len(here))
    return (
        f", most of all where {name} is {'large' if large else 'small'}: {beyond(there, cut)} of these have "
        f"{values[cut]:.4g} or {'more' if large else 'less'}, of the {len(here)} others {beyond(here, cut)}"
    )


def _still_improving(facts: Facts, top: Sequence[Facts], noise: Noise | None) -> dict[str, Any]:
    question, epochs = "Do the best curves still improve at their last epoch?", facts["study"]["epochs"]
    sign = 1 if facts["study"]["direction"] == "maximize" else -1
    improving = []
    for t in top:
        curve = [value for _, value in t["curve"] if value is not None]
        last = max(1, len(curve) // _LAST)
        if len(curve) >= 2 * _LAST:
            gain = statistics.mean(curve[-last:]) - statistics.mean(curve[-2 * last : -last])
            improving.append(noise is not None and sign * gain > noise.deviation)
    if not improving:
        return _answer(question, "The curves are too short to tell.")
    if noise is None:
        return _answer(question, f"It cannot be told: {_UNKNOWN}.", _confirm(facts))
    told = f"{sum(improving)} of the best {len(improving)} do, by more than the noise ({noise.deviation:.4f})"
    if 2 * sum(improving) > len(improving):
        return _answer(question, f"Yes: {told}. Train longer.", _retune(facts, "longer", f"--epochs {2 * epochs}"))
    return _answer(question, f"No: {told}. {epochs} epochs are enough.")


def _overfit(facts: Facts, top: Sequence[Facts]) -> dict[str, Any]:
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
    lowest = math.ceil(statistics.median(found))
    return _answer(
        question,
        f"{told}{lowest}. Train shorter, or name more dropout or weight decay in a study's file.",
        _retune(facts, "shorter", f"--epochs {lowest}") if lowest <= _LATE * facts["study"]["epochs"] else None,
    )


def _ahead(facts: Facts, noise: Noise | None) -> dict[str, Any]:
    question, winner = "Is the winner better than the runner-up by more than its noise?", facts["winner"]
    if facts["runner_up"] is None:
        return _answer(question, "There is no other complete trial.")
    if confirmed := winner["confirmation"]:
        verdict = {"better": "Yes", "worse": "No", "open": "It cannot be told"}[confirmed["verdict"]]
        return _answer(question, f"{verdict}: {in_words(Confirmation(**confirmed))}.")
    other = facts["trials"][facts["runner_up"]]
    sign, confirm = 1 if facts["study"]["direction"] == "maximize" else -1, _confirm(facts)
    apart = sign * (winner["value"] - other["value"])
    told = f"trial {other['trial']} came to {other['value']:.4f}, the winner to {winner['value']:.4f}"
    if apart < 0:
        told = f"Not by its value: {told}; but of another training of the winner more is expected."
        return _answer(question, told, confirm)
    expected = winner["expected"]
    if expected and expected["low"] <= other["value"] <= expected["high"]:
        return _answer(question, f"It cannot be told: {told}, and its other trainings may come to either.", confirm)
    if noise is None:
        return _answer(question, f"It cannot be told: {told}; {_UNKNOWN}.", confirm)
    if apart <= (reach := _NEAR * math.sqrt(2) * noise.deviation):  # both have it
        within = f"within the noise of two trainings (± {reach:.4f}, {noise.source})"
        return _answer(question, f"It cannot be told: {told}, {within}.", confirm)
    return _answer(question, f"It seems so: {told}; one training of each cannot say more.", confirm)


def _confirm(facts: Facts) -> str | None:
    """Return the command that shows the noise; None where it was used, or is of no use before the study is done."""
    unconfirmed = facts["runner_up"] is not None and not facts["winner"]["confirmation"]
    done = facts["study"]["state"] == "done"
    return f"caviar best {facts['study']['name']} --confirm 5" if unconfirmed and done else None


def _retune(facts: Facts, suffix: str, option: str) -> str:
    name = facts["study"]["name"]
    return f"caviar retune {name} --name {name}-{suffix} {option}"


def _order(facts: Facts) -> dict[str, Any]:
    question, found = "Which hyperparameters mattered, and did the documented order hold?", facts["importance"]
    if found is None:
        return _answer(question, "Ten finished trials of different values are needed to say.")
    first = found["hyperparameters"][0]
    told = f"{first['name']} decided most ({first['share']:.0%}, {first['low']:.0%} to {first['high']:.0%})"
    return _answer(question, f"{told}; {'; '.join(found['words'])}.")
