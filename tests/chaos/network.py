"""Hosts in network namespaces of their own, each joined by a cable to the host that has the database."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass

_SECOND = 100 + os.getpid() % 128  # of an address: two runs of the tests may share a machine


def why_not() -> str | None:
    """Return why this machine lets no network namespaces be made; None where it does."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    try:
        tried = subprocess.run(["ip", "netns", "add", "caviar-try"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "there is no `ip` here"
    subprocess.run(["ip", "netns", "del", "caviar-try"], capture_output=True, check=False)
    return f"this machine lets no network namespaces be made: {tried.stderr.strip()}" if tried.returncode else None


@dataclass(frozen=True)
class Host:
    """A network namespace with one cable.

    Attributes:
        name: of the namespace; its cable's end on this side is named alike.
        database: the address at which the database is to be found from there.
    """

    name: str
    number: int

    @property
    def database(self) -> str:
        return f"10.{_SECOND}.{self.number}.1"

    @property
    def prefix(self) -> tuple[str, ...]:
        """What to write before a command that is to run there."""
        return ("ip", "netns", "exec", self.name)

    @property
    def _cable(self) -> str:
        return f"v{self.name}"[:15]

    def make(self) -> Host:
        here, there = self._cable, "eth0"
        _ip("netns", "add", self.name)
        _ip("link", "add", here, "type", "veth", "peer", "name", there, "netns", self.name)
        _ip("addr", "add", f"{self.database}/24", "dev", here)
        _ip("link", "set", here, "up")
        _ip("-n", self.name, "addr", "add", f"10.{_SECOND}.{self.number}.2/24", "dev", there)
        _ip("-n", self.name, "link", "set", there, "up")
        _ip("-n", self.name, "link", "set", "lo", "up")
        return self

    def cut(self) -> None:
        """Pull the cable at the database's end: what this host sends vanishes, and nobody tells it."""
        _ip("link", "set", self._cable, "down")

    def mend(self) -> None:
        _ip("link", "set", self._cable, "up")

    def lose(self, percent: int) -> None:
        """Lose so many of a hundred packets, both ways."""
        for way in ("input", "output"):
            self._filter(way, f"numgen random mod 100 < {percent} drop")

    def deafen(self) -> None:
        """Let what this host sends arrive, and nothing come back: a connection that is open on one side only."""
        self._filter("input", "drop")

    def reset(self) -> None:
        """Answer whatever this host sends with the end of its connection, as a firewall that forgot it does."""
        self._filter("output", "meta l4proto tcp reject with tcp reset")

    def slow_down(self) -> None:
        """Let two kilobytes through in a second."""
        rate = ("tbf", "rate", "16kbit", "burst", "2kb", "latency", "3s")
        _run("tc", "-n", self.name, "qdisc", "replace", "dev", "eth0", "root", *rate)  # it may be slow already

    def clear(self) -> None:
        """Let everything through again."""
        _run(*self.prefix, "nft", "flush", "ruleset")
        _run("tc", "-n", self.name, "qdisc", "del", "dev", "eth0", "root", check=False)
        self.mend()

    def _filter(self, way: str, rule: str) -> None:
        nft = (*self.prefix, "nft")
        _run(*nft, "add", "table", "inet", "chaos")
        _run(*nft, f"add chain inet chaos {way} {{ type filter hook {way} priority 0; }}")
        _run(*nft, f"add rule inet chaos {way} {'iifname' if way == 'input' else 'oifname'} eth0 {rule}")

    def remove(self) -> None:
        subprocess.run(["ip", "netns", "del", self.name], capture_output=True, check=False)


def _ip(*words: str) -> None:
    _run("ip", *words)


def _run(*words: str, check: bool = True) -> None:
    subprocess.run(words, capture_output=True, check=check)
