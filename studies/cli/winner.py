"""Print the winner of a study, as `best`, `run`, `join` and `report` show it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from caviar.storage.states import Phase
from caviar.studies.cli.output import out, print_line
from caviar.studies.results.formatting import number

if TYPE_CHECKING:
    from caviar.studies.results.winner import Winner

_OF_A_PANDA = (Phase.DAY, Phase.LOOK)


def print_winner(winner: Winner) -> None:
    """Print a winner: its accuracy first, then its hyperparameters."""
    which = f" of {winner.study} (tier {winner.tier}, {winner.phase})"
    out().print(Text.assemble((f"winner: trial {winner.trial}", "bold"), which))
    later = "not measured for a panda" if winner.phase in _OF_A_PANDA else "measured when the study is done"
    test = f"{winner.test.accuracy:.4f}  (measured once)" if winner.test else later
    validation = winner.validation
    accuracy = (f"{validation.accuracy:.4f}", "green")
    out().print(Text.assemble("  validation accuracy  ", accuracy, f"  (loss {validation.loss:.4g})"))
    if expected := winner.expected:
        out().print(
            f"  if trained again     {number(expected.value)} is expected, on average {number(expected.low)} to "
            f"{number(expected.high)} (90 %)"
        )
    out().print(Text.assemble("  test accuracy        ", (test, "green")))
    width = max(map(len, winner.hyperparameters), default=0)
    for name, value in winner.hyperparameters.items():
        out().print(f"  {name:<{width}}  {number(value)}")
    if winner.confirmation:
        from caviar.studies.results.confirmation import in_words

        print_line(f"  {in_words(winner.confirmation)}")
