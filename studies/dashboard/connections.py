"""Connections of the dashboard's server, waitress: how many there may be, and how long a request may take to arrive.

These limits hold before any password is asked for. Where there are too many connections, the one that has waited
longest for its next request goes: a browser's arrives at once, and who sends a byte now and then keeps nobody else out.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import Any

from waitress.channel import HTTPChannel

CONNECTIONS = 200  # of all addresses
_PER_ADDRESS = 32  # a browser opens six
_SECONDS = 30.0  # in which a request must arrive, and after which an idle connection ends
# Of waitress. The limit is above ours, since at its own it would accept nobody; a note is smaller than that body.
OPTIONS = {
    "connection_limit": CONNECTIONS + 50,
    "channel_timeout": 60,  # seconds without a byte of an answer being taken
    "max_request_header_size": 2**16,
    "max_request_body_size": 2**20,
}


class LimitedChannel(HTTPChannel):  # type: ignore[misc]
    """A connection that makes room for itself when it begins."""

    def __init__(self, server: Any, sock: Any, addr: Any, adj: Any, map: Any = None) -> None:
        self.waits_since = time.monotonic()  # for its next request
        _make_room(server.active_channels.values(), addr[0])
        super().__init__(server, sock, addr, adj, map=map)

    def service(self) -> None:
        """Answer the requests that have arrived."""
        super().service()
        self.waits_since = time.monotonic()


def _make_room(channels: Collection[LimitedChannel], address: str) -> None:
    of_address = [channel for channel in channels if channel.addr[0] == address]
    if len(of_address) >= _PER_ADDRESS:
        channels = of_address
    elif len(channels) < CONNECTIONS:
        return
    waiting = [channel for channel in channels if not channel.requests]
    if waiting:
        min(waiting, key=lambda channel: (channel.total_outbufs_len > 0, channel.waits_since)).handle_close()


def close_late(channels: Collection[LimitedChannel]) -> None:
    """Close the connections whose next request has not arrived in time."""
    latest = time.monotonic() - _SECONDS
    for channel in list(channels):
        if channel.waits_since < latest and not channel.requests and not channel.total_outbufs_len:
            channel.handle_close()
