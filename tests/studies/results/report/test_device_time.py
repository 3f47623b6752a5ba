"""For how long devices were busy: what shares a device counts once, and what was lost counts, too."""

from __future__ import annotations

from caviar.studies.results.report.device_time import DeviceClock
from caviar.studies.results.report.holdings import Holding
from caviar.studies.results.report.records import DeviceTime


def held(trial: int, worker: str, began: float, ended: float, end: str = "complete") -> Holding:
    return Holding(trial, worker, began, ended, end)


def test_trials_that_one_worker_trains_as_one_program_share_its_core() -> None:
    clock = DeviceClock([held(0, "a:1", 0, 10), held(1, "a:1", 0, 8), held(2, "a:1", 12, 20)], {"a:1": "cpu"})
    assert clock.until(99) == (DeviceTime("cpu", 18.0),)
    assert clock.until(15) == (DeviceTime("cpu", 13.0),)
    assert clock.until(0) == (DeviceTime("cpu", 0.0),)


def test_two_workers_on_one_gpu_share_it_and_those_on_others_do_not() -> None:
    devices = {"a:1": "cuda:0", "a:2": "cuda:0", "b:1": "cuda:0", "a:3": "cpu"}
    clock = DeviceClock([held(n, worker, 0, 10) for n, worker in enumerate(devices)], devices)
    assert clock.until(99) == (DeviceTime("cpu", 10.0), DeviceTime("cuda", 20.0))


def test_a_trial_of_several_gpus_keeps_all_of_them_busy() -> None:
    clock = DeviceClock([held(0, "a:1", 0, 10)], {"a:1": "cuda:0,cuda:1"})
    assert clock.until(99) == (DeviceTime("cuda", 20.0),)
    assert DeviceClock([held(0, "a:1", 0, 10)], {"a:1": "cpu,cpu"}).until(99) == (DeviceTime("cpu", 20.0),)


def test_every_attempt_counts_also_one_that_was_lost() -> None:
    clock = DeviceClock([held(0, "a:1", 0, 10, "lost"), held(0, "b:1", 30, 35)], {"a:1": "cpu", "b:1": "cpu"})
    assert clock.until(99) == (DeviceTime("cpu", 15.0),)
