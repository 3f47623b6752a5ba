"""The end of what a program has printed, for messages that quote it."""

from __future__ import annotations

from caviar.text import printable

_BYTES = 16_384  # that are kept


class Tail:
    """The last bytes of a stream."""

    def __init__(self) -> None:
        self._data = b""

    def add(self, data: bytes) -> None:
        """Take what was printed next."""
        self._data = (self._data + data)[-_BYTES:]

    def last_lines(self, most: int) -> list[str]:
        """Return the last lines that are not empty, without control characters."""
        lines = printable(self._data.decode("utf-8", "replace").replace("\r", "\n")).splitlines()
        return [line.rstrip() for line in lines if line.strip()][-most:]
