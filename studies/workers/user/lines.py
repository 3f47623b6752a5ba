"""Cut a stream of bytes into lines of text, whatever comes: half lines, carriage returns, bytes that are no UTF-8."""

from __future__ import annotations

from collections.abc import Iterator

LONGEST = 2**18  # bytes of a line; the rest of a longer one is left out


class Lines:
    """The lines of one stream.

    As in a terminal, a carriage return begins the line again: of a progress bar its last state is left.
    """

    def __init__(self) -> None:
        self._line = b""  # what follows the last line break

    def add(self, data: bytes) -> Iterator[str]:
        """Take what has been read next, and yield the lines that end in it."""
        *ended, rest = data.split(b"\n")
        for part in ended:
            self._extend(part)
            yield from self.rest()
        self._extend(rest)

    def rest(self) -> list[str]:
        """Return the last line, if anything follows the last line break."""
        line, self._line = self._line, b""
        text = line.removesuffix(b"\r").rpartition(b"\r")[2].decode("utf-8", "replace")
        return [text] if text else []

    def _extend(self, part: bytes) -> None:
        if b"\r" in part[:-1]:
            self._line, part = b"", part[part.rindex(b"\r", 0, -1) + 1 :]
        elif self._line.endswith(b"\r") and part:
            self._line = b""
        self._line = (self._line + part)[:LONGEST]
