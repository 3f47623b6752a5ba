"""Faults of every kind, one upon another, in an order that a seed gives; `CHAOS_SEED=7` has that of a failure again."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import count
from random import Random

import pytest
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from tests.chaos.faults import Fault, Mend, Place, possible
from tests.chaos.network import Host, why_not
from tests.chaos.scene import Row, Scene
from tests.chaos.server import Server, faketime
from tests.helpers.pooler import Pooler

_SEED = int(os.environ.get("CHAOS_SEED", "0"))
_ROUNDS = int(os.environ.get("CHAOS_ROUNDS", "0"))  # of 200 faults each, instead of one of 40
_PAUSE = 0.3  # seconds from one fault to the next
_RUNS = count()
_SPARE = 8  # trials that are left while faults come


@pytest.fixture
def hosts() -> Iterator[list[Host]]:
    """Two hosts with a cable each; none on a machine that lets none be made."""
    run = f"cv{os.getpid() % 100000}{next(_RUNS)}"  # another name each time: a cable goes when it likes
    made = [] if why_not() else [Host(f"{run}{letter}", 20 + n) for n, letter in enumerate("st")]
    try:
        yield [host.make() for host in made]
    finally:
        for host in made:
            host.remove()


def weather(place: Place, faults: tuple[Fault, ...], start: Callable[[], object], most: int) -> Counter[str]:
    """Let so many faults come, and the study have work meanwhile; return how often each one met somebody."""
    met: Counter[str] = Counter()
    lasting: list[tuple[float, Mend]] = []
    weights = [fault.weight for fault in faults]
    try:
        while met.total() < most:
            start()
            if place.scene.left() < _SPARE:
                with suppress(DBAPIError):
                    place.scene.extend(_SPARE)
            for entry in [entry for entry in lasting if entry[0] <= time.monotonic()]:
                lasting.remove(entry)
                entry[1]()
            if place.scene.is_any_near_its_end():
                time.sleep(_PAUSE)
                continue
            (fault,) = place.random.choices(faults, weights)
            place.scene.note_hit()
            mend = fault.strike(place)
            if mend is not None:
                met[fault.name] += 1
                if fault.alone:
                    time.sleep(fault.seconds)
                    mend()
                    place.scene.recovered()
                else:
                    lasting.append((time.monotonic() + fault.seconds, mend))
            time.sleep(_PAUSE)
    finally:
        for _, mend in lasting:
            mend()
    return met


def _pooler(url: URL) -> Pooler | None:
    """Return a PgBouncer; None where there is none: the other faults are injected even so."""
    try:
        return Pooler(url, connections=8)
    except pytest.skip.Exception:
        return None


@pytest.mark.slow
@pytest.mark.chaos
@pytest.mark.parametrize("seed", range(_SEED, _SEED + max(1, _ROUNDS)))
def test_faults_one_upon_another(
    seed: int, hosts: list[Host], new_server: Callable[..., Server], new_scene: Callable[..., Scene],
    report: Callable[[Row], None],
) -> None:  # fmt: skip
    print(f"CHAOS_SEED={seed}")
    most = 200 if _ROUNDS else 40
    clock = faketime() is not None
    server = new_server(listen="*", connections=200, movable_clock=clock)
    scene = new_scene(server.url(), lease=3.0)
    scene.begin(2 * _SPARE, epochs=30)
    pooler = _pooler(server.url())
    place = Place(scene, server, Random(seed), hosts, pooler, clock)
    ways = [
        {"url": server.url()},
        {"url": pooler.url if pooler else server.url()},
        *({"url": server.url(host.database), "prefix": host.prefix} for host in hosts),
    ]
    machines = [scene.start(2, **way) for way in ways]

    def start() -> None:
        for number, way in enumerate(ways):
            if machines[number].poll() is not None and scene.left():
                machines[number] = scene.start(2, **way)

    try:
        scene.wait_until(lambda: len(scene.at_work()) >= len(ways))
        met = weather(place, possible(place), start, most)
        scene.wait_until(lambda: start() or not scene.left())
        scene.finish()
    finally:
        if pooler:
            pooler.remove()
    row = scene.audit("", 0)
    for name, times in met.items():
        report(replace(row, fault=f"{name}, among others", injected=times))
