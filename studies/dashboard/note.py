"""A study in one page of Markdown, for whoever meets it in Optuna's dashboard: what is searched, how far it is, and
which commands show more. A pure function of facts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from caviar.storage.records import PhaseCount, Progress
from caviar.studies.definition import Study
from caviar.studies.results.formatting import number
from caviar.studies.results.summaries import state_of
from caviar.studies.search.plan import plan

_ROWS = 8  # of running trials; of hundreds, nobody reads each


def note_text(study: Study, now: Progress, at: datetime, winner: dict[str, Any] | None = None) -> str:
    """Return what the note says.

    Args:
        now: of the moment `at`.
        winner: of a study that is done, as `caviar.studies.results.summaries.best_facts` has it.
    """
    return "\n\n".join(
        (
            f"## {_code(study.name)}: {_state(now)}",
            _winner(study, winner) if winner else _best(study, now),
            _counts(study, now),
            "### Searched\n\n" + _searched(study, now, winner),
            "### Plan, and how far it is\n\n" + _plan(study, now.phases),
            *_running(study, now),
            "### Look further\n\n" + _commands(study, now),
            written(at),
        )
    )


def _winner(study: Study, winner: dict[str, Any]) -> str:
    told = f"**Winner: trial {winner['trial']}**, {study.metric} {number(winner['value'])}"
    if expected := winner["expected"]:
        told += (
            f"; trained again, {number(expected['value'])} is expected, on average {number(expected['low'])} to "
            f"{number(expected['high'])} (90 %)"
        )
    return told + (f"; test accuracy {winner['test']['accuracy']:.4f}, measured once." if winner["test"] else ".")


def _state(now: Progress) -> str:
    state = state_of(now)
    words = {
        "waiting": "waiting for a worker",
        "paused": "paused, so workers wait",
        "stopped": "stopped, so workers leave",
    }
    workers = f", {_count(now.leased, 'trial')} at {_count(now.workers, 'worker')}" if now.leased else ""
    return f"{words.get(state, state)}, {now.done} of {_count(now.budget, 'trial')}{workers}"


def _best(study: Study, now: Progress) -> str:
    if now.best is None:
        return "No trial came to a result." if state_of(now) == "done" else "No trial is complete yet."
    where = f"tier {now.best.slot.tier} {now.best.slot.phase}"
    return f"**Best so far: trial {now.best.slot.number}**, {study.metric} {number(now.best.value)} ({where})."


def _counts(study: Study, now: Progress) -> str:
    counts = {"complete": now.complete, "pruned": now.pruned, "failed": now.failed, "diverged": now.diverged,
              "abandoned": now.abandoned}  # fmt: skip
    told = ", ".join(f"{number} {kind}" for kind, number in counts.items() if number or kind in ("complete", "pruned"))
    return f"{told}; {now.epochs_trained} of {now.budget * study.epochs} epochs trained."


def _searched(study: Study, now: Progress, winner: dict[str, Any] | None) -> str:
    values = winner["hyperparameters"] if winner else study.values(now.best.parameters) if now.best else {}
    rows = [
        (tier, _code(name), str(scale), number(scale.default), number(values.get(name)))
        for name, tier, scale in study.hyperparameters()
    ]
    fixed = ", ".join(f"{_code(name)} {number(value)}" for name, value in study.fixed.items())
    told = (
        f"To {study.direction} the validation {study.metric} of {_code(study.model)} on {_code(study.data)}: "
        f"{_count(study.budget, 'trial')} of {_count(study.epochs, 'epoch')}, strategy {_code(study.strategy)}, "
        f"pruner {_code(study.pruner)}, seed {study.seed}{f'; fixed: {fixed}' if fixed else ''}."
    )
    return f"{told}\n\n" + table(("tier", "hyperparameter", "range and scale", "default", "the best has"), rows)


def _plan(study: Study, phases: Sequence[PhaseCount]) -> str:
    free = {(slot.tier, slot.phase): slot.free for slot in plan(study)}
    none = {"default": "none: every default", "prior": "none: what won before"}
    rows = []
    for p in phases:
        names = free.get((p.tier, p.phase), ())
        varied = ", ".join(map(_code, names)) or none.get(p.phase, "")
        rows.append((p.tier, p.phase, varied, f"{p.done} of {p.slots}", number(p.best)))
    return table(("tier", "phase", "varied", "spent", f"best {study.metric}"), rows)


def _running(study: Study, now: Progress) -> Iterable[str]:
    if now.running:
        rows = [
            (
                r.number,
                f"{r.tier} {r.phase}",
                f"{r.epoch} of {study.epochs}",
                number(r.value),
                _code(f"{r.host}:{r.pid}"),
            )
            for r in now.running[:_ROWS]
        ]
        more = f"\n\nand {len(now.running) - _ROWS} more" if len(now.running) > _ROWS else ""
        yield "### Running\n\n" + table(("trial", "tier", "epoch", study.metric, "worker"), rows) + more


def _commands(study: Study, now: Progress) -> str:
    state, name = state_of(now), study.name
    lines = {
        f"caviar report {name} -o {name}.html --open": "learning curves, what mattered, and what to do next",
        f"caviar best {name}": "the winner",
        f"caviar trials {name}": "every trial",
        f"caviar history {name}": "versions and events",
    }
    if state in ("paused", "stopped"):
        lines = {f"caviar resume {name}": "go on", **lines}
    elif state != "done":
        lines = {f"caviar status {name} --watch": "as it is now", f"caviar join {name}": "work on it", **lines}
    return console(lines)


def console(lines: Mapping[str, str]) -> str:
    """Return commands, each with what it is for."""
    width = max(map(len, lines))
    return "```console\n" + "\n".join(f"$ {line:<{width}}  # {why}" for line, why in lines.items()) + "\n```"


def written(at: datetime) -> str:
    """Return what a person who would write into a note has to know."""
    return (
        f"*Caviar wrote this at {at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC, and rewrites it while workers train. "
        f"What is written above or below it stays.*"
    )


def table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def _count(number: int, of: str) -> str:
    return f"{number} {of}" if number == 1 else f"{number} {of}s"


def _code(name: str) -> str:
    return f"`{name}`"
