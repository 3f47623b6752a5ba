"""What is printed where nothing but ASCII is shown."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

_WORDS = {"…": "...", "±": "+-", "β": "beta"}  # of Caviar's own texts


class PlainConsole(Console):
    """A console that prints ASCII: what Caviar says is put into it as a person would, and anything else is a `?`."""

    @property
    def encoding(self) -> str:
        """What rich draws lines and bars by."""
        return "ascii"

    def render_str(self, text: str, **options: Any) -> Text:
        """Return a text whose width is known before it is laid out."""
        for sign, word in _WORDS.items():
            text = text.replace(sign, word)
        return super().render_str(text, **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Return what is laid out; no column becomes wider."""
        for segment in super().render(renderable, options):
            yield (
                segment
                if segment.text.isascii()
                else segment._replace(text=segment.text.encode("ascii", "replace").decode())
            )
