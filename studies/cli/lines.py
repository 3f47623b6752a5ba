"""Lines that are broken where a person would break them: between settings, and below their first word."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.measure import Measurement
from rich.padding import Padding
from rich.text import Text

from caviar.studies.results.formatting import number

BETWEEN = "  "  # two settings in one line


def settings(values: Mapping[str, object]) -> list[str]:
    """Return hyperparameters as texts, each a name with its value."""
    return [f"{name} {number(value)}" for name, value in values.items()]


def settings_line(values: Mapping[str, object]) -> str:
    """Return hyperparameters in one line."""
    return BETWEEN.join(settings(values))


class Pieces:
    """A line of pieces that is broken between them, and inside one only where it is longer than a whole line.

    Args:
        style: rich's, of the whole line.
        below: columns before each further line.
    """

    def __init__(self, pieces: Sequence[str | Text], style: str = "", between: str = BETWEEN, below: int = 0) -> None:
        self._pieces = [Text(piece) if isinstance(piece, str) else piece for piece in pieces]
        self._style, self._between, self._below = style, Text(between), Text(" " * below)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for pieces in [self._pieces] if options.no_wrap else self._lines(options.max_width):
            line = self._between.join(pieces)
            line.style, line.overflow = self._style, "fold"
            yield line

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        widths = [piece.cell_len for piece in self._pieces] or [0]
        most = sum(widths) + self._between.cell_len * (len(widths) - 1)
        return Measurement(max(widths), most).with_maximum(options.max_width)

    def _lines(self, width: int) -> Iterator[list[Text]]:
        line: list[Text] = []
        for piece in self._pieces:
            if line and self._between.join([*line, piece]).cell_len > width:
                yield line
                line = [self._below + piece]
            else:
                line.append(piece)
        yield line


def hanging(line: str | Text, style: str = "") -> RenderableType:
    """Return a line whose further lines begin below its first word, where it is too long for one."""
    text = Text(line, style=style) if isinstance(line, str) else line
    columns = len(text.plain) - len(text.plain.lstrip(" "))
    return Padding(text[columns:], (0, 0, 0, columns), expand=False)


def indented(pieces: Pieces, columns: int) -> RenderableType:
    """Return pieces so many columns further right, on every line."""
    return Padding(pieces, (0, 0, 0, columns), expand=False)
