"""One self-contained page: what a report says, its figures, and every trial. Nothing in it asks the network."""

from __future__ import annotations

import json
from html import escape
from importlib.resources import files
from typing import Any

from studies.report.answers import Facts
from studies.report.figures import figures

# Some of plotly's traces are compiled in the browser. Nothing may be fetched.
_POLICY = "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; img-src data: blob:"
_TITLES = {
    "curves": "Learning curves: the pruned ones fade (a double click shows all)",
    "train against validation": "Training (dotted) against validation loss of the best five",
    "hyperparameters": "Each hyperparameter against the result, on its own scale; below, where it was proposed from",
    "best so far": "The best value over trials, epochs and time",
    "importance": "What decided the result?",
    "parallel coordinates": "All trials at once",
    "timeline": "Who trained what, and when",
}


def page(facts: Facts) -> str:
    """Return the report as one HTML document."""
    from plotly.offline import get_plotlyjs

    drawn, study, beside = figures(facts), facts["study"], files(__package__)
    pictures = "".join(f'<h2>{escape(_TITLES[n])}</h2><div class="figure" id="{n}"></div>' for n in drawn)
    columns = "".join(f"<th>{escape(column)}</th>" for column in _columns(facts))
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<title>{escape(study["name"])}: Caviar's report</title>
<style>{(beside / "page.css").read_text()}</style></head><body>
<h1>{escape(study["name"])}</h1>
<p class="dim">{escape(_summary(study))}</p>
{_winner(facts)}
{_cost(facts)}
<h2>Questions and answers</h2>{_answers(facts)}
{pictures}
<h2>Every trial</h2>
<nav><button id="back">back</button><button id="on">on</button><span id="page" class="dim"></span></nav>
<div class="scroll"><table id="trials"><thead><tr>{columns}</tr></thead><tbody></tbody></table></div>
<h2>Where it comes from</h2>{_provenance(facts)}
<script type="application/json" id="figures">{_embedded(drawn)}</script>
<script type="application/json" id="rows">{_embedded([_row(facts, t) for t in facts["trials"]])}</script>
<script>{get_plotlyjs()}</script>
<script>{(beside / "page.js").read_text()}</script></body></html>
"""


def _embedded(document: Any) -> str:
    """Return JSON that cannot end the element that it stands in."""
    return json.dumps(document, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _number(value: Any) -> str:
    return "–" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _summary(study: Facts) -> str:
    return (
        f"{study['model']} on {study['data']}: {study['budget']} trials of {study['epochs']} epochs to "
        f"{study['direction']} {study['metric']}, {study['strategy']}, pruner {study['pruner']}, seed {study['seed']}; "
        f"{study['state']}"
    )


def _card(value: str, name: str) -> str:
    return f'<div class="card"><b>{escape(value)}</b><span>{escape(name)}</span></div>'


def _winner(facts: Facts) -> str:
    winner = facts["winner"]
    if winner is None:
        return "<p>No trial is complete yet.</p>"
    cards = [_card(f"{winner['validation']['accuracy']:.4f}", "validation accuracy")]
    cards.append(_card(f"{winner['test']['accuracy']:.4f}" if winner["test"] else "–", "test accuracy, measured once"))
    if expected := winner["expected"]:
        cards.append(
            _card(f"{expected['low']:.4f} to {expected['high']:.4f}", "expected of another training, on average (90 %)")
        )
    values = [_card(_number(value), name) for name, value in winner["hyperparameters"].items()]
    return (
        f"<h2>The winner: trial {winner['trial']} (tier {winner['tier']}, {escape(winner['phase'])})</h2>"
        f'<div class="cards">{"".join(cards)}</div><div class="cards">{"".join(values)}</div>'
    )


def _cost(facts: Facts) -> str:
    cost = facts["cost"]
    planned = cost["done"] * facts["study"]["epochs"]
    saved = f" ({max(1 - cost['epochs'] / planned, 0.0):.0%} saved)" if facts["study"]["state"] == "done" else ""
    told = {
        "trials": f"{cost['done']}",
        "complete / pruned / failed": f"{cost['complete']} / {cost['pruned']} / {cost['failed']}",
        f"epochs, of {cost['epochs_planned']} planned{saved}": str(cost["epochs"]),
        "training, all workers together": f"{cost['training_seconds']:.0f} s",
        "from the first trial to the last": f"{cost['wall_seconds']:.0f} s",
        f"workers on {cost['hosts']} host(s)": str(cost["workers"]),
    }
    return f'<h2>What it cost</h2><div class="cards">{"".join(_card(v, n) for n, v in told.items())}</div>'


def _answers(facts: Facts) -> str:
    if not facts["answers"]:
        return "<p>There is nothing to say before a trial is complete.</p>"
    items = []
    for a in facts["answers"]:
        command = f"<br><code>{escape(a['command'])}</code>" if a["command"] else ""
        items.append(f"<dt>{escape(a['question'])}</dt><dd>{escape(a['answer'])}{command}</dd>")
    return f"<dl>{''.join(items)}</dl>"


def _columns(facts: Facts) -> list[str]:
    return ["trial", "tier", "phase", "state", "value", "epochs", *(h["name"] for h in facts["hyperparameters"]),
            "why it stopped"]  # fmt: skip


def _row(facts: Facts, t: Facts) -> list[str]:
    values = [_number(t["hyperparameters"].get(h["name"])) for h in facts["hyperparameters"]]
    return [str(t["trial"]), str(t["tier"]), t["phase"], t["violated"] or t["state"], _number(t["value"]),
            str(t["epochs"]), *values, t["why_it_stopped"] or ""]  # fmt: skip


def _provenance(facts: Facts) -> str:
    rows = []
    for v in facts["provenance"]:
        packages = ", ".join(f"{name} {version}" for name, version in v["packages"].items())
        digests = f"code {(v['code'] or '?')[:12]}, data {(v['data'] or '?')[:12]}"
        changes = "; ".join(v["changes"]) or "begun"
        cells = (str(v["version"]), v["since"], changes, packages, digests)
        rows.append("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>")
    head = "".join(f"<th>{name}</th>" for name in ("version", "since", "what changed", "packages", "digests"))
    machines = ", ".join(facts["machines"]) or "none yet"
    return f'<div class="scroll"><table><tr>{head}</tr>{"".join(rows)}</table></div><p>Machines: {escape(machines)}</p>'
