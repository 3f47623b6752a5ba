"""Faults that may come one after another: what each does, and how what it disturbed is set right again."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random

import optuna
from optuna.distributions import FloatDistribution
from optuna.exceptions import OptunaError
from optuna.storages import RDBStorage
from optuna.trial import TrialState, create_trial
from sqlalchemy.exc import DBAPIError

from tests.chaos.network import Host
from tests.chaos.scene import LEASE, Scene, send
from tests.chaos.server import Server
from tests.helpers.pooler import Pooler

Mend = Callable[[], object]


@dataclass
class Place:
    """Where faults come down: one study's machines, their database, and what lies between.

    Attributes:
        hosts: that have a cable of their own to the database; none where this machine lets none be made.
        pooler: in front of the database for one of the machines; None where there is no PgBouncer.
        random: decides which fault comes, and whom it meets.
    """

    scene: Scene
    server: Server
    random: Random
    hosts: list[Host] = field(default_factory=list)
    pooler: Pooler | None = None
    clock: bool = False

    def worker(self) -> int | None:
        """Return the process of a worker in the middle of a trial."""
        with suppress(DBAPIError):
            return next((row.pid for row in self.scene.at_work()), None)
        return None

    def host(self) -> Host:
        return self.random.choice(self.hosts)


@dataclass(frozen=True)
class Fault:
    """One kind of fault.

    Attributes:
        weight: how often it comes, in proportion to the others.
        strike: do it, and return how it is set right; None where there was nobody to meet.
        seconds: for how long it lasts.
        alone: no other fault comes meanwhile.
    """

    name: str
    weight: int
    strike: Callable[[Place], Mend | None]
    seconds: float = 0.0
    alone: bool = False


def _signal(number: int) -> Callable[[Place], Mend | None]:
    def strike(place: Place) -> Mend | None:
        pid = place.worker()
        return (lambda: send(pid, signal.SIGCONT)) if pid and send(pid, number) else None

    return strike


def _kill_machine(place: Place) -> Mend | None:
    machine = place.random.choice(place.scene.machines)
    if machine.poll() is not None:
        return None
    os.killpg(machine.pid, signal.SIGKILL)
    return machine.wait


def _terminate_backend(place: Place) -> Mend | None:
    with suppress(DBAPIError):
        rows = place.scene.rows(
            "SELECT pg_terminate_backend(pid) FROM (SELECT pid FROM pg_stat_activity WHERE application_name = 'caviar' "
            "AND pid <> pg_backend_pid() ORDER BY random() LIMIT 1) AS one"
        )
        return (lambda: None) if rows else None
    return None


def _meddle(change: Callable[[Scene, optuna.Study], bool]) -> Callable[[Place], Mend | None]:
    """Let an ordinary Optuna program do something in the study."""

    def strike(place: Place) -> Mend | None:
        with suppress(DBAPIError, OptunaError):
            study = optuna.load_study(study_name="chaos", storage=RDBStorage(str(place.server.url())))
            return (lambda: None) if change(place.scene, study) else None
        return None

    return strike


def _add(scene: Scene, study: optuna.Study) -> bool:
    kinds = scene.study.distributions()
    values = {name: kind.high for name, kind in kinds.items() if isinstance(kind, FloatDistribution)}
    study.add_trial(create_trial(params=values, distributions={name: kinds[name] for name in values}, value=0.99))
    return True


def _enqueue(scene: Scene, study: optuna.Study) -> bool:
    study.enqueue_trial({"learning_rate": 0.05})
    return True


def _end(scene: Scene, study: optuna.Study) -> bool:
    rows = scene.rows("SELECT number, trial_id FROM caviar.slot WHERE state = 'leased' AND epoch > 0 ORDER BY random()")
    if not rows:
        return False
    study._storage.set_trial_state_values(rows[0].trial_id, TrialState.COMPLETE, [0.5])
    scene.ended_by_others.add(rows[0].number)
    return True


def _stop_server(mode: str) -> Callable[[Place], Mend]:
    def strike(place: Place) -> Mend:
        if mode == "kill":
            place.server.kill()
        else:
            place.server.stop(mode)
        return place.server.start

    return strike


def _freeze_server(place: Place) -> Mend:
    place.server.freeze()
    return lambda: place.server.freeze(thaw=True)


def _refuse_writes(place: Place) -> Mend:
    place.server.refuse_writes(True)
    return lambda: place.server.refuse_writes(False)


def _kill_pooler(place: Place) -> Mend:
    assert place.pooler is not None
    place.pooler.kill()
    return place.pooler.start


def _jump(hours: int) -> Callable[[Place], Mend]:
    def strike(place: Place) -> Mend:
        place.server.jump(3600 * hours)
        return lambda: place.server.jump(0)

    return strike


def _on_host(disturb: Callable[[Host], object]) -> Callable[[Place], Mend]:
    def strike(place: Place) -> Mend:
        host = place.host()
        disturb(host)
        return host.clear

    return strike


_ANYWHERE = (
    Fault("a worker killed", 24, _signal(signal.SIGKILL)),
    Fault("a worker asked to leave", 16, _signal(signal.SIGTERM)),
    Fault("a worker frozen past its lease, then continued", 6, _signal(signal.SIGSTOP), 1.5 * LEASE),
    Fault("a worker frozen for a moment", 6, _signal(signal.SIGSTOP), 0.5),
    Fault("a machine killed with all of its workers", 4, _kill_machine),
    Fault("a connection ended by the server", 24, _terminate_backend),
    Fault("another Optuna program adds a trial", 3, _meddle(_add)),
    Fault("another Optuna program enqueues a trial", 3, _meddle(_enqueue)),
    Fault("another Optuna program ends a running trial", 2, _meddle(_end)),
    Fault("PostgreSQL restarted (fast)", 2, _stop_server("fast"), 0.5, alone=True),
    Fault("PostgreSQL restarted (immediate)", 1, _stop_server("immediate"), 0.5, alone=True),
    Fault("PostgreSQL killed", 1, _stop_server("kill"), 0.5, alone=True),
    Fault("PostgreSQL frozen for 3 s", 1, _freeze_server, 3, alone=True),
    Fault("PostgreSQL read-only for 2 s", 2, _refuse_writes, 2, alone=True),
)
_WITH_HOSTS = (
    Fault("a cable pulled for longer than a lease", 2, _on_host(Host.cut), 2 * LEASE),
    Fault("30 % of all packets lost for 4 s", 2, _on_host(lambda host: host.lose(30)), 4),
    Fault("a line of 2 kB/s for 4 s", 2, _on_host(Host.slow_down), 4),
    Fault("answers that do not arrive for 3 s", 2, _on_host(Host.deafen), 3),
    Fault("connections reset for 1 s", 2, _on_host(Host.reset), 1),
)
_WITH_POOLER = (Fault("PgBouncer killed", 3, _kill_pooler, 0.5),)
_WITH_CLOCK = (
    Fault("the database's clock an hour ahead for 2 s", 1, _jump(1), 2, alone=True),
    Fault("the database's clock an hour behind for 2 s", 1, _jump(-1), 2, alone=True),
)


def possible(place: Place) -> tuple[Fault, ...]:
    """Return the faults that can be had on this machine."""
    return (
        *_ANYWHERE,
        *(_WITH_HOSTS if place.hosts else ()),
        *(_WITH_POOLER if place.pooler else ()),
        *(_WITH_CLOCK if place.clock else ()),
    )
