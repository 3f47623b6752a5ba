"""Messages between a worker and the processes that train its trial: one JSON object a line, over a socket."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import suppress
from typing import Any

Message = dict[str, Any]
_AT_ONCE = 65_536  # bytes of one reading


class Channel:
    """One end of a socket; several threads may send.

    Attributes:
        is_open: whether the other end may still send.
    """

    def __init__(self, end: socket.socket) -> None:
        self.is_open = True
        self._socket = end
        self._rest = b""  # of a line that has not come to its end
        self._sending = threading.Lock()

    def fileno(self) -> int:
        """Return the descriptor, for `select`."""
        return self._socket.fileno()

    def send(self, message: Message) -> None:
        """Send a message. Where nobody listens any more it is lost: the end of the other process is heard elsewhere."""
        with self._sending, suppress(OSError):
            self._socket.sendall(json.dumps(message).encode() + b"\n")

    def receive(self) -> list[Message]:
        """Wait for messages, and return those that have come; none if there will be no more."""
        while self.is_open:
            try:
                data = self._socket.recv(_AT_ONCE)
            except ConnectionError:
                data = b""
            self.is_open = bool(data)
            *lines, self._rest = (self._rest + data).split(b"\n")
            if lines:
                return [json.loads(line) for line in lines]
        return []

    def close(self) -> None:
        """Close this end."""
        self.is_open = False
        self._socket.close()
