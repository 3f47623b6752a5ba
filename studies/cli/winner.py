"""Print the winner of a study, as `best`, `run`, `join` and `report` show it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from caviar.epoch import Epoch, metric_names
from caviar.storage.states import Phase
from caviar.studies.cli.lines import Pieces
from caviar.studies.cli.output import out, print_line
from caviar.studies.results.formatting import number, told_apart
from caviar.suggestions import did_you_mean

if TYPE_CHECKING:
    from caviar.studies.results.winner import Winner

_HEAD = len("if trained again")
_OF_A_PANDA = (Phase.DAY, Phase.LOOK)


def print_winner(winner: Winner) -> None:
    """Print a winner, or the best trial so far: its metric first, then all else that was measured, then its values."""
    which = f" of {winner.study} (tier {winner.tier}, {winner.phase})"
    head = f"{'winner' if winner.is_final else 'best so far'}: trial {winner.trial}"
    if winner.phase in _OF_A_PANDA:  # which is never done, so that nothing has won
        head, which = f"best so far: {winner.phase} {winner.trial}", f" of {winner.study}"
    out().print(Text.assemble((head, "bold"), which))
    others = {name: value for name, value in winner.metrics.items() if name != winner.metric}
    _print_line(winner.metric, [number(winner.value)], _in_parentheses(_listed(others)))
    if winner.why_not_best and not winner.confirmation:  # which says what fresh trainings of both came to
        print_line(f"  {winner.why_not_best}")
    if winner.confirmation:  # what was measured takes the place of what was expected
        from caviar.studies.results.confirmation import mean_of

        values = winner.confirmation.winner_values
        mean, low, high = mean_of(values)
        sure = [] if low is None or high is None else [" to ".join(told_apart(low, high)), "(95 %)"]
        _print_line(
            "trained again", [number(mean)], [f"on average of {len(values)} trainings{',' * bool(sure)}", *sure]
        )
    elif expected := winner.expected:
        ends = " to ".join(told_apart(expected.low, expected.high))
        _print_line("if trained again", [number(expected.value)], ["is expected,", f"on average {ends}", "(90 %)"])
    if winner.gain is not None:
        from caviar.studies.results.gain import in_words as gain_in_words

        by, what = gain_in_words(winner.gain, winner.trial)
        _print_line("over the default", [by], what.replace(" over the default", "").split(" "))
    if (prospect := winner.prospect) is not None:
        print_line(f"  {prospect}")
    later = "not measured for a panda" if winner.phase in _OF_A_PANDA else "measured when the study is done"
    if winner.test:
        _print_line("test", _listed(winner.test), [" (measured once)"])
    elif winner.has_test:
        _print_line("test", [later if winner.test is None else "the data have no test part"])
    width = max(map(len, winner.hyperparameters), default=0)
    for name, value in winner.hyperparameters.items():
        out().print(f"  {name:<{width}}  {number(value)}")
    for name in winner.never_suggested:
        print_line(f"  no trial suggested '{name}', which a tier names; {did_you_mean(name, winner.hyperparameters)}")
    if winner.confirmation:
        from caviar.studies.results.confirmation import in_words

        print_line(f"  {in_words(winner.confirmation)}")


def _print_line(head: str, values: Sequence[str], rest: Sequence[str] = ()) -> None:
    """Print values behind their name, and what is said of them: on several lines where one has no room for all."""
    line = Table.grid(padding=(0, 2, 0, 0))
    line.add_column(no_wrap=True, min_width=_HEAD + 2)
    line.add_column()
    line.add_row(f"  {head}", Pieces([*(Text(value, "green") for value in values), *rest], between=" "))
    out().print(line)


def _in_parentheses(texts: Sequence[str]) -> list[str]:
    if not texts:
        return []
    inside = [f" ({texts[0]}", *texts[1:]]
    return [*inside[:-1], f"{inside[-1]})"]


def _listed(metrics: Mapping[str, float]) -> list[str]:
    """Return metrics as texts with commas between them."""
    names = metric_names([Epoch(0, metrics, 0.0)])
    texts = [f"{name} {number(metrics[name])}" for name in names]
    return [*(f"{text}," for text in texts[:-1]), *texts[-1:]]
