"""Consoles that nothing reaches the terminal around: whatever a command prints goes through `render`.

Text may come from the database, where a person with a worker's password can write it. So markup is off unless asked
for, and no control character of a text gets out, which could retitle a terminal, fill its clipboard, or hide lines.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from caviar.text import printable

_WORDS = {"…": "...", "±": "+-", "β": "beta"}  # in Caviar's own texts


class CleanConsole(Console):
    """A console that leaves out control characters, except for rich's own, which draw and colour."""

    def __init__(self, **options: Any) -> None:
        super().__init__(highlight=False, emoji=False, markup=False, **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yield the laid-out text without control characters. They take no column, so no width changes."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else self._clean(segment)

    def _clean(self, segment: Segment) -> Segment:
        text = printable(segment.text)
        return segment if text == segment.text else segment._replace(text=text)

    def print(self, *objects: Any, **options: Any) -> None:
        """Print as rich does; into a file or a pipe without the blanks that only fill a table's last column."""
        if self.is_terminal:
            super().print(*objects, **options)
            return
        with self.capture() as printed:
            super().print(*objects, **options)
        super().print("\n".join(line.rstrip(" ") for line in printed.get().split("\n")), end="", soft_wrap=True)


class PlainConsole(CleanConsole):
    """A console that prints ASCII: characters of Caviar's own texts are spelt out, and any other becomes a `?`."""

    @property
    def encoding(self) -> str:
        """The encoding by which rich chooses the characters of lines and bars."""
        return "ascii"

    def render_str(self, text: str, **options: Any) -> Text:
        """Return a text with its characters spelt out, so that its width is known before it is laid out."""
        for character, word in _WORDS.items():
            text = text.replace(character, word)
        return super().render_str(text, **options)

    def _clean(self, segment: Segment) -> Segment:
        clean = super()._clean(segment)
        if clean.text.isascii():
            return clean
        return clean._replace(text=clean.text.encode("ascii", "replace").decode())
