"""A training that hangs, exits or crashes is noticed, told with its stack, and counted; what only waits is not."""

from __future__ import annotations

import multiprocessing
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from multiprocessing import Pipe
from pathlib import Path
from queue import Queue
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import Engine

from caviar.storage.control import kill_trial, set_control
from caviar.storage.events import read_events
from caviar.storage.losses import LIMIT
from caviar.storage.processes import is_stopped
from caviar.storage.records import StudyRecord, WorkerDeath
from caviar.storage.settings import read_settings
from caviar.storage.status import read_trials
from caviar.storage.stopped import LONGEST_STEP
from caviar.storage.trial_logs import TrialLogs
from caviar.studies.errors import WorkersFailed
from caviar.studies.space.scales import Log
from caviar.studies.workers.local import place as place_module
from caviar.studies.workers.local import process
from caviar.studies.workers.local.events import Progressed, WorkerDied
from caviar.studies.workers.local.options import WorkerOptions
from caviar.studies.workers.local.place import Place
from caviar.studies.workers.local.preparation import begin_or_resume
from caviar.studies.workers.local.pulse import Pulse
from caviar.studies.workers.local.signals import Stop
from caviar.studies.workers.local.stacks import hanging_rank, place_in
from caviar.studies.workers.local.supervisor import Outcome, supervise
from caviar.studies.workers.local.watchdog import Watchdog, silence_limit
from tests.helpers.command import until
from tests.helpers.leaving_net import NET
from tests.helpers.studies import small_study


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "600"])
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def watched(sleeper: subprocess.Popen[bytes]) -> tuple[Clock, Pulse, Watchdog]:
    clock, pulse = Clock(), Pulse()
    return clock, pulse, Watchdog(pulse, sleeper.pid, clock)


def pass_time(clock: Clock, watchdog: Watchdog, seconds: int, **asked: bool) -> None:
    for _ in range(seconds):
        clock.now += 1
        watchdog.measure(**asked)


def test_silence_is_measured_in_training_from_the_last_batch(watched: tuple[Clock, Pulse, Watchdog]) -> None:
    clock, pulse, watchdog = watched
    pass_time(clock, watchdog, 60)  # it waits for the database, say
    assert watchdog.silence == 0
    with pulse.training():
        pass_time(clock, watchdog, 60)
        assert watchdog.silence == 59
        pulse.beat()
        pass_time(clock, watchdog, 10)
        assert watchdog.silence == 9
    pass_time(clock, watchdog, 1)
    assert watchdog.silence == 0


def test_a_pause_of_the_whole_machine_is_no_silence(watched: tuple[Clock, Pulse, Watchdog]) -> None:
    clock, pulse, watchdog = watched
    with pulse.training():
        pass_time(clock, watchdog, 2)
        clock.now += 8 * 3600
        watchdog.measure()
    assert watchdog.silence == 6


def test_a_stopped_worker_is_not_silent(
    watched: tuple[Clock, Pulse, Watchdog], sleeper: subprocess.Popen[bytes]
) -> None:
    clock, pulse, watchdog = watched
    with pulse.training():
        pass_time(clock, watchdog, 3)
        sleeper.send_signal(signal.SIGSTOP)
        until(lambda: is_stopped(sleeper.pid))
        pass_time(clock, watchdog, 60)
        assert watchdog.silence == 2
        sleeper.send_signal(signal.SIGCONT)
        until(lambda: not is_stopped(sleeper.pid))
        pass_time(clock, watchdog, 3)
        assert watchdog.silence == 5


@pytest.mark.parametrize("whole_machine", [False, True])
def test_a_trial_is_not_late_for_time_in_which_its_worker_is_stopped(
    watched: tuple[Clock, Pulse, Watchdog], sleeper: subprocess.Popen[bytes], whole_machine: bool
) -> None:
    clock, pulse, watchdog = watched
    with pulse.training(), pulse.until(clock.now + 10, 3, 60.0):
        pass_time(clock, watchdog, 8)
        if whole_machine:
            clock.now += 3600
        else:
            sleeper.send_signal(signal.SIGSTOP)
            until(lambda: is_stopped(sleeper.pid))
            pass_time(clock, watchdog, 60)
            sleeper.send_signal(signal.SIGCONT)
            until(lambda: not is_stopped(sleeper.pid))
        pass_time(clock, watchdog, 1)
        assert watchdog.late == 0 or whole_machine
        assert watchdog.late <= LONGEST_STEP
        pass_time(clock, watchdog, 7)
        assert watchdog.late > LONGEST_STEP
        assert pulse.limited == (3, 60.0)
    pass_time(clock, watchdog, 1)
    assert watchdog.late == 0


def test_who_is_asked_to_leave_is_given_time_from_then_on(watched: tuple[Clock, Pulse, Watchdog]) -> None:
    clock, pulse, watchdog = watched
    with pulse.training():
        pass_time(clock, watchdog, 30)
        pass_time(clock, watchdog, 5, asked=True)
        assert (watchdog.silence, watchdog.silence_since_asked) == (34, 5)
        pulse.beat()
        pass_time(clock, watchdog, 3, asked=True)
        assert watchdog.silence_since_asked == 2


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[..., Place]]:
    """Makes a place whose process only sleeps."""
    context = multiprocessing.get_context("forkserver")
    monkeypatch.setattr(place_module, "work", sleep_on)
    places = list[Place]()

    def make(**options: Any) -> Place:
        order = WorkerOptions(read_settings("postgresql://nobody@nowhere/none"), "small", Path("nowhere"), **options)
        places.append(Place(context, order, "cpu", TrialLogs(tmp_path, "small")))
        return places[-1]

    yield make
    for one in places:
        one.process.kill()
        one.process.join()


def sleep_on(*arguments: object) -> None:
    threading.Event().wait()


def test_a_sound_worker_is_not_killed_for_want_of_grace(place: Callable[..., Place]) -> None:
    """With `--grace 0`, too, whoever is asked to leave gets the time of a batch, and who hangs is ended."""
    asked, clock = place(grace=0.0), Clock()
    asked._watchdog = Watchdog(asked._pulse, asked.pid, clock)
    for _ in range(3):
        clock.now += 1
        assert asked.end_if_hanging(0.0, asked=True) is None
    assert asked.exit_code is None
    clock.now += 3
    death = asked.end_if_hanging(0.0, asked=True)
    assert death is not None
    assert (death.why, death.is_loss) == ("its training did not leave, 5 s after it was asked to", False)


def test_a_place_forgets_deaths_once_an_epoch_is_trained_and_else_gives_up(place: Callable[..., Place]) -> None:
    one, death = place(), WorkerDeath("its training left the process with exit code 0")
    for _ in range(2 * LIMIT):  # two configurations, one after the other, whose slots are abandoned
        one.vacate(death)
    with one._pulse.training(), one._pulse.epoch():
        pass
    one.vacate(death)
    assert one.restarts == 1
    one._pulse = Pulse()
    for _ in range(3 * LIMIT - 1):
        one.vacate(death)
    with pytest.raises(WorkersFailed, match=r"16 times in a row .* with exit code 0; see: caviar history small"):
        one.vacate(death)
    one.process.kill()
    one.process.join()
    with pytest.raises(WorkersFailed, match="is there enough memory"):
        one.vacate(one.death())


def test_the_limit_follows_from_the_longest_epoch() -> None:
    pulse = Pulse()
    with pulse.training():
        assert silence_limit(pulse, 2.0) == silence_limit(pulse, 2.0, given=7.0) == 3600  # data are loaded, say
        with pulse.epoch():
            assert silence_limit(pulse, 0.0) == 3600
            assert silence_limit(pulse, 2.0) == 300
            assert silence_limit(pulse, 120.0) == 1200
            assert silence_limit(pulse, 120.0, given=7.0) == 7
    assert 0 < pulse.longest_epoch < 60


def test_the_place_is_that_of_the_main_thread() -> None:
    stack = (
        'Thread 0x01 (most recent call first):\n  File "/a/threading.py", line 3 in wait\n\n'
        'Current thread 0x02 (most recent call first):\n  File "/b/net.py", line 12 in forward\n'
        '  File "/c/training.py", line 9 in epochs\n'
    )
    assert place_in(stack) == " in forward (/b/net.py:12)"
    assert place_in("") == ""


def stack_in(file: str, call: str) -> str:
    return (
        f'Current thread 0x02 (most recent call first):\n  File "{file}", line 3 in {call}\n  File "/a/tune.py", line 9'
    )


WAITING = stack_in("/lib/torch/distributed/distributed_c10d.py", "all_reduce")
BACKWARD = stack_in("/lib/torch/autograd/graph.py", "_engine_run_backward")
HANGING = stack_in("/a/tune.py", "train")


@pytest.mark.parametrize(
    ("stacks", "rank"),
    [
        ([WAITING, HANGING, BACKWARD], 1),
        ([BACKWARD, WAITING, HANGING], 2),
        ([HANGING, HANGING], 0),
        ([WAITING, BACKWARD], 0),
        ([HANGING, WAITING, ""], 2),
    ],
)
def test_the_rank_at_fault_is_one_that_does_not_wait_for_the_others(stacks: list[str], rank: int) -> None:
    assert hanging_rank(dict(enumerate(stacks))) == rank


class Leaving:
    """A study of two trials whose model fails as the files in a folder say."""

    def __init__(self, engine: Engine, folder: Path, *faults: str, **fields: Any) -> None:
        folder.mkdir()
        for number, fault in enumerate(faults):
            (folder / f"{number}.{fault}").touch()
        self.engine, self.heard = engine, list[str]()
        self.study = small_study(
            model=NET, tiers=({"learning_rate": Log(1e-3, 1, default=0.1)},), fixed={"folder": str(folder)},
            budget=2, epochs=1, pruner="none", **fields,
        )  # fmt: skip

    def run(self, on_progress: Any = lambda record, now: None, **options: Any) -> Outcome:
        address = self.engine.url.render_as_string(hide_password=False)
        order = WorkerOptions(read_settings(address), "small", Path("nowhere"), **options)
        with Stop() as stop:
            opened = begin_or_resume(self.engine, self.study, order)
            self.record: StudyRecord = opened.record

            def hear(event: object) -> None:
                if isinstance(event, WorkerDied):
                    self.heard.append(event.why)
                if isinstance(event, Progressed):
                    on_progress(opened.record, event.snapshot.progress)

            return supervise(self.engine, opened.record, opened.options, ["cpu"], stop, hear)


@pytest.mark.slow
def test_a_training_that_hangs_exits_or_crashes_is_told_with_its_stack_and_given_up_after_the_third_time(
    engine: Engine, tmp_path: Path
) -> None:
    leaving = Leaving(engine, tmp_path / "faults", "hang", "leave", "die")
    outcome = leaving.run(epoch_timeout=3.0)
    assert (outcome.now.complete, outcome.now.abandoned, outcome.restarts) == (1, 1, 3)
    hung, left, died = leaving.heard
    assert hung.startswith("its training hung in wait (")
    assert left == "its training left the process with exit code 0"
    assert died.startswith("it was killed by signal 11 in fail (")
    events = read_events(engine, leaving.record.study_id, "worker died")
    assert [(e.slot, e.detail["why"]) for e in events] == [(0, hung), (0, left), (0, died)]
    for number, call in ((0, "leaving_net.py"), (2, "leaving_net.py")):
        assert call in events[number].detail["traceback"]
    assert read_trials(engine, leaving.record.study_id)[0].attempts == 3


@pytest.mark.slow
def test_the_death_with_which_a_run_gives_up_is_in_the_history(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place_module, "_RESTARTS", 0)
    leaving = Leaving(engine, tmp_path / "faults", "leave")
    with pytest.raises(WorkersFailed, match="exit code 0"):
        leaving.run()
    (died,) = read_events(engine, leaving.record.study_id, "worker died")
    assert died.detail["why"] == "its training left the process with exit code 0"


@pytest.mark.slow
def test_a_trial_that_takes_too_long_and_hears_nothing_is_over(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place_module, "_LEAST_GRACE", 0.5)
    leaving = Leaving(engine, tmp_path / "faults", "hang", trial_timeout=1)
    outcome = leaving.run()
    assert (outcome.now.failed, outcome.now.complete) == (1, 1)
    first, _ = read_trials(engine, leaving.record.study_id)
    why = first.attributes["why it stopped"]
    assert why.startswith("took longer than its trial_timeout of 1 s, and was not left in wait (")
    assert (first.attempts, leaving.heard) == (1, [why])
    (event,) = read_events(engine, leaving.record.study_id, "timed out")
    assert (event.slot, event.detail["why"]) == (0, why)
    assert "leaving_net.py" in event.detail["traceback"]


@pytest.mark.slow
def test_a_training_that_calls_os_exit_fails_its_trial_at_once(engine: Engine, tmp_path: Path) -> None:
    leaving = Leaving(engine, tmp_path / "faults", "exit")
    outcome = leaving.run()
    assert (outcome.now.failed, outcome.now.complete, outcome.restarts) == (1, 1, 0)
    first, _ = read_trials(engine, leaving.record.study_id)
    assert first.attributes["why it stopped"] == "it calls os._exit(0), which would end Caviar"


@pytest.mark.slow
@pytest.mark.parametrize("how", ["kill", "stop"])
def test_kill_and_stop_at_once_reach_a_training_that_hangs(engine: Engine, tmp_path: Path, how: str) -> None:
    leaving = Leaving(engine, tmp_path / "faults", "hang")
    asked = list[str]()

    def ask(record: StudyRecord, now: Any) -> None:
        if now.running and not asked and not list((tmp_path / "faults").iterdir()):
            asked.append(how)
            if how == "kill":
                assert not kill_trial(engine, record, 0)
            else:
                set_control(engine, record.study_id, "stop", at_once=True)

    outcome = leaving.run(ask, grace=1.0)
    (why,) = leaving.heard
    assert why.startswith("its training did not leave in wait (")
    first, second = read_trials(engine, leaving.record.study_id)
    if how == "kill":
        assert (outcome.now.failed, outcome.now.complete) == (1, 1)
        assert first.attributes["why it stopped"] == "killed by hand after epoch 0"
    else:
        assert (first.state, second.state) == ("interrupted", "open")
        assert outcome.now.open == 2


def test_a_worker_that_hangs_does_not_outlive_the_process_that_started_it(monkeypatch: pytest.MonkeyPatch) -> None:
    (parent, living), ended = Pipe(duplex=False), Queue[int]()
    monkeypatch.setattr(process.multiprocessing, "parent_process", lambda: SimpleNamespace(sentinel=parent))
    monkeypatch.setattr(process, "end_process", ended.put)
    monkeypatch.setattr(process, "KILL_SECONDS", 0.0)
    stop = Stop()
    process._follow_parent(stop, grace=0.0)
    assert not stop.asked
    living.close()
    assert ended.get(timeout=60) == 1
    assert stop.asked
