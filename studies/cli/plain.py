"""Print to a terminal or file that shows nothing but ASCII."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

_WORDS = {"…": "...", "±": "+-", "β": "beta"}  # in Caviar's own texts


class PlainConsole(Console):
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

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yield the laid-out text with a `?` for each other character, so that no column becomes wider."""
        for segment in super().render(renderable, options):
            yield (
                segment
                if segment.text.isascii()
                else segment._replace(text=segment.text.encode("ascii", "replace").decode())
            )
