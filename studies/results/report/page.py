"""Write a report as one self-contained HTML page: answers, figures, and every trial. It needs no network."""

from __future__ import annotations

from html import escape

from caviar.storage.states import TrialState
from caviar.studies.lifecycle.provenance import code_line
from caviar.studies.results.confirmation import mean_of
from caviar.studies.results.formatting import alike, begin_sentence, duration, number, told_apart
from caviar.studies.results.gain import in_words as gain_in_words
from caviar.studies.results.next_steps import Reason
from caviar.studies.results.report.document import card, document, scrolled, steps_list
from caviar.studies.results.report.figures import figures
from caviar.studies.results.report.records import Report, ReportedTrial
from caviar.studies.results.report.setting import configuration, data_sizes, dates, space_table
from caviar.studies.results.sentences import parent_in_words, study_in_words
from caviar.studies.results.summaries import StudyState

_TITLES = {
    "curves": "Learning curves",
    "train against validation": "Training (dotted) against validation loss of the best five",
    "other metrics": "What else the best five measured",
    "hyperparameters": "What did each hyperparameter do?",
    "two together": "Where the best value of one depends on the other",
    "best so far": "The best value so far, and the trials as they ended",
    "importance": "What decided the result?",
    "parallel coordinates": "The best trials through all hyperparameters",
    "timeline": "Who trained what, and when",
}
_NOTES = {  # how to read a figure, below its title
    "curves": "Grey ones ended early, where their crosses stand. Of many, the best 50 and as many others are drawn. A "
    "double click shows the whole range.",
    "timeline": "A row for each trial that a worker trains at the same time.",
    "hyperparameters": "Above, the trials; those beyond the edge are ticks at it. Below, what a model of all trials "
    "expects of the winner if this value alone were another one, with one standard deviation on both sides. The range "
    "is the same in each panel, so that what matters most is steepest.",
    "two together": "Pairs whose effects depend on each other by more than noise. Brighter is better: what a model of "
    "all trials expects of the winner with these two values. White points are trials, the star is the winner.",
    "parallel coordinates": "At most 300, the better ones brighter. Drag along an axis to keep those that pass there.",
}


def page(report: Report) -> str:
    """Return the report as one HTML document."""
    drawn, study = figures(report), report.study
    pictures = "".join(f"<h2>{escape(_TITLES[n])}</h2>{_note(report, n)}{_place(n)}" for n in drawn)
    body = f"""<h1>{escape(study.name)}</h1>
<p class="dim">{escape(f"{study_in_words(study, study.budget)}; {study.state}")}</p>
{_winner(report)}
{_cost(report)}
{steps_list(report.steps, without=Reason.LOOK)}
<h2>Questions and answers</h2>{_answers(report)}
{pictures}
<h2>Every trial</h2>"""
    rows = [_row(report, t) for t in _in_order(report)]
    after = f"<h2>Where it comes from</h2>{_provenance(report)}"
    marked = _number(report, report.winner.trial) if report.winner else ""
    return document(f"{study.name}: Caviar's report", body, drawn, _columns(report), rows, after, marked)


def _place(figure: str) -> str:
    """Return the element of a figure; the one with an axis for each hyperparameter scrolls inside its box."""
    element = f'<div class="figure" id="{figure}"></div>'
    return scrolled(element, _TITLES[figure]) if figure == "parallel coordinates" else element


def _note(report: Report, figure: str) -> str:
    note = _NOTES.get(figure, "")
    if figure == "hyperparameters" and not report.effects:
        note = note.partition(" Below")[0]
    return f'<p class="dim">{escape(note)}</p>' if note else ""


def _winner(report: Report) -> str:
    winner = report.winner
    if winner is None:
        return "<p>No trial is complete yet.</p>"
    cards = [card(number(winner.value), winner.metric)]
    if winner.gain is not None:
        cards.append(card(*gain_in_words(winner.gain, winner.trial)))
    tested = sorted((winner.test or {}).items(), key=lambda of: of[0] != winner.metric)  # the study's own metric first
    cards += [card(number(value), f"test {name}, measured once") for name, value in tested]
    if confirmed := winner.confirmation:  # what was measured takes the place of what was expected
        mean, low, high = mean_of(confirmed.winner_values)
        sure = "" if low is None or high is None else f", {' to '.join(told_apart(low, high))} (95 %)"
        cards.append(card(number(mean), f"mean of {len(confirmed.winner_values)} fresh trainings{sure}"))
    elif expected := winner.expected:
        ends = " to ".join(told_apart(expected.low, expected.high))
        cards.append(card(number(expected.value), f"expected mean of repeated trainings, {ends} (90 %)"))
    if confirmed and confirmed.low is not None and confirmed.high is not None:
        cards.append(
            card(
                " to ".join(alike(confirmed.low, confirmed.high, sign="+")),
                f"better than trial {confirmed.runner_up}, by fresh trainings of both (95 %)",
            )
        )
    head = "The winner" if report.study.state == StudyState.DONE else "Best so far"
    why = f"<p>{escape(begin_sentence(winner.why_not_best))}.</p>" if winner.why_not_best else ""
    return (
        f"<h2>{head}: trial {winner.trial} (tier {winner.tier}, {escape(winner.phase)})</h2>"
        f'<div class="cards">{"".join(cards)}</div>{why}{space_table(report)}{configuration(winner)}'
    )


def _cost(report: Report) -> str:
    cost = report.cost
    of = "" if cost.epochs_planned is None else f", of {cost.epochs_planned} planned"
    if report.study.epochs is not None and report.study.state == StudyState.DONE:
        of += f" ({max(1 - cost.epochs / (cost.done * report.study.epochs), 0.0):.0%} saved)"
    cards = {
        "trials": f"{cost.done}",
        "complete / pruned / failed": f"{cost.complete} / {cost.pruned} / {cost.failed}",
        f"epochs{of}": str(cost.epochs),
        "from the first trial to the last": duration(cost.wall_seconds),
        **{f"{device.name} time, all attempts": duration(device.seconds) for device in cost.devices},
        "of that in epochs": duration(cost.training_seconds),
        f"workers on {cost.hosts} host(s)": str(cost.workers),
    }
    foreign = {
        "trials ended by other Optuna programs": cost.ended_elsewhere,
        "trials made by other Optuna programs": cost.others,
    }
    cards |= {name: str(count) for name, count in foreign.items() if count}
    when = f"<p>{escape(dates(report))}</p>" if cost.began else ""
    return f'<h2>What it cost</h2><div class="cards">{"".join(card(v, n) for n, v in cards.items())}</div>{when}'


def _answers(report: Report) -> str:
    if not report.answers:
        return "<p>There is nothing to say before a trial is complete.</p>"
    items = []
    for a in report.answers:
        command = f"<br><code>{escape(a.command)}</code>" if a.command else ""
        items.append(f"<dt>{escape(a.question)}</dt><dd>{escape(a.answer)}{command}</dd>")
    return f"<dl>{''.join(items)}</dl>"


def _columns(report: Report) -> list[str]:
    return ["trial", "value", "state", *(h.name for h in report.hyperparameters), "epochs", "tier", "phase",
            "why it stopped"]  # fmt: skip


def _in_order(report: Report) -> list[ReportedTrial]:
    """Return all trials: the winner, the complete ones by value, the other ones by value, and those without a value."""
    winner = None if report.winner is None else report.winner.trial
    sign = -1 if report.study.maximize else 1

    def place(t: ReportedTrial) -> tuple[bool, bool, bool, float, int]:
        of_value = sign * t.value if t.value is not None else 0.0
        return t.trial != winner, not t.is_sound, t.state != TrialState.COMPLETE, of_value, t.trial

    return sorted(report.trials, key=place)


def _number(report: Report, trial: int) -> str:
    """Return a trial's number, and whether it won."""
    if report.winner is None or trial != report.winner.trial:
        return str(trial)
    return f"{trial} {report.title}"


def _row(report: Report, t: ReportedTrial) -> list[str]:
    values = [number(t.hyperparameters.get(h.name)) for h in report.hyperparameters]
    return [_number(report, t.trial), number(t.value), t.ending, *values, str(t.epochs), str(t.tier), t.phase,
            t.why_it_stopped or ""]  # fmt: skip


def _provenance(report: Report) -> str:
    rows = []
    for v in report.provenance:
        packages = ", ".join(f"{name} {version}" for name, version in v.provenance.packages.items())
        digests = f"code {(v.provenance.code or '?')[:12]}, data {(v.provenance.data or '?')[:12]}"
        if own := code_line(v.provenance):
            digests += f", yours: {own}"
        changes = "; ".join(v.changes) or "begun"
        cells = (str(v.version), v.since, changes, packages, digests)
        rows.append("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>")
    head = "".join(f"<th>{name}</th>" for name in ("version", "since", "what changed", "packages", "digests"))
    machines = ", ".join(report.machines) or "none yet"
    table = f'<table class="wrap"><tr>{head}</tr>{"".join(rows)}</table>'
    lines = [f"Machines: {machines}.", *data_sizes(report.study)]
    lines += [f"It was {parent_in_words(report.parent)}."] if report.parent else []
    return f"{scrolled(table, 'The versions of the definition')}{''.join(f'<p>{escape(line)}</p>' for line in lines)}"
