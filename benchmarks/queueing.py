"""A discrete-event simulation of one server: a clock, cores that serve in order of arrival, one lock. For scale.py."""

from __future__ import annotations

import heapq
import itertools
import math
import random
import statistics
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any


@dataclass
class Transaction:
    """Seconds on a core, then of commit and round trips; `lock` where it holds the study's row all the time."""

    core: float
    rest: float
    lock: bool = False
    name: str = ""


class Simulation:
    """A clock, a server, and processes: generators that yield seconds to wait, or a transaction."""

    def __init__(self, cores: int, seed: int) -> None:
        self.random = random.Random(seed)
        self.now = 0.0
        self.busy: Counter[str] = Counter()  # core seconds, by the name of the transaction
        self.held = 0.0  # seconds of the row's lock
        self.active = self.most_active = 0  # transactions
        self._free = cores
        self._events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._order = itertools.count()
        self.waits: list[float] = []  # of each transaction, for a core
        self._for_core: deque[tuple[Transaction, Iterator[Any], float]] = deque()
        self._for_lock: deque[tuple[Transaction, Iterator[Any]]] = deque()
        self._locked = False
        self._locked_at = 0.0

    def start(self, process: Iterator[Any], after: float = 0.0) -> None:
        self._at(self.now + after, self._step, process)

    def run(self, until: Callable[[], bool]) -> None:
        while self._events and not until():
            self.now, _, action, arguments = heapq.heappop(self._events)
            action(*arguments)

    def _at(self, when: float, action: Callable[..., None], *arguments: Any) -> None:
        heapq.heappush(self._events, (when, next(self._order), action, arguments))

    def _step(self, process: Iterator[Any]) -> None:
        wish = next(process, None)
        if isinstance(wish, Transaction):
            self.active += 1
            self.most_active = max(self.most_active, self.active)
            if wish.lock and self._locked:
                self._for_lock.append((wish, process))
            else:
                self._take(wish, process)
        elif wish is not None:
            self._at(self.now + wish, self._step, process)

    def _take(self, wish: Transaction, process: Iterator[Any]) -> None:
        if wish.lock:
            self._locked, self._locked_at = True, self.now
        if self._free:
            self._free -= 1
            self._serve(wish, process, self.now)
        else:
            self._for_core.append((wish, process, self.now))

    def _serve(self, wish: Transaction, process: Iterator[Any], arrived: float) -> None:
        self.waits.append(self.now - arrived)
        seconds = self.random.expovariate(1 / wish.core)
        self.busy[wish.name] += seconds
        self._at(self.now + seconds, self._served, wish, process)

    def _served(self, wish: Transaction, process: Iterator[Any]) -> None:
        if self._for_core:
            self._serve(*self._for_core.popleft())
        else:
            self._free += 1
        self._at(self.now + wish.rest, self._done, wish, process)

    def _done(self, wish: Transaction, process: Iterator[Any]) -> None:
        self.active -= 1
        if wish.lock:
            self.held += self.now - self._locked_at
            self._locked = False
            if self._for_lock:
                self._take(*self._for_lock.popleft())
        self._step(process)


def erlang_c(cores: int, load: float) -> float:
    """Return the probability that an arrival waits, in M/M/c; `load` is arrival rate times service time."""
    terms = [load**k / math.factorial(k) for k in range(cores)]
    full = load**cores / math.factorial(cores) * cores / (cores - load)
    return full / (sum(terms) + full)


def check(cores: int, utilisation: float, seeds: int = 8, arrivals: int = 30_000) -> tuple[list[float], float]:
    """Return the mean waits of several simulated queues, and the formula's, in service times."""
    formula = erlang_c(cores, cores * utilisation) / (cores * (1 - utilisation))
    return [_mean_wait(cores, utilisation, seed, arrivals) for seed in range(seeds)], formula


def _mean_wait(cores: int, utilisation: float, seed: int, arrivals: int) -> float:
    simulation = Simulation(cores, seed)

    def source() -> Iterator[Any]:
        while True:
            simulation.start(iter([Transaction(1.0, 0.0)]))
            yield simulation.random.expovariate(cores * utilisation)

    simulation.start(source())
    simulation.run(lambda: len(simulation.waits) >= arrivals)
    return statistics.mean(simulation.waits[arrivals // 10 :])
