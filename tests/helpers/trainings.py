"""Training functions of studies with `train=`, as a user has them; a study names one by its path."""

from __future__ import annotations

import ctypes
import itertools
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from sqlalchemy import Engine

from caviar.storage.records import StudyRecord
from caviar.studies.definition import Study
from caviar.studies.lifecycle.manager import open_study
from caviar.studies.space.scales import Linear, Log
from caviar.studies.workers.user.trial import Trial

TIERS = ({"lr": Log(1e-4, 1e-1, default=1e-2)}, {"hidden": Linear(4, 32, default=8)})

ENDED: list[object] = []  # how the trials of this process have ended, in that order
SOUND: set[int] = set()  # numbers of the trials that do not diverge
TESTED: list[int] = []  # the trials that were tested
ERRORS: list[Exception] = []  # that functions are to raise, in that order
ACTIONS: list[Callable[[], object]] = []  # that functions are to do, in that order


def register_training(engine: Engine, function: str, **fields: Any) -> tuple[StudyRecord, Study]:
    """Register a study that is trained by a function of this module."""
    ENDED.clear()
    ERRORS.clear()
    ACTIONS.clear()
    TESTED.clear()
    values = {"name": "own", "metric": "rmse", "direction": "minimize", "epochs": 4, "budget": 5, "tiers": TIERS}
    study = Study(train=f"tests.helpers.trainings:{function}", **{**values, **fields})
    return open_study(engine, study), study


def as_long_as_it_asks(trial: Trial) -> None:
    """Trains for as many epochs as its hyperparameter of that name says."""
    for epoch in trial.epochs():
        trial.report(rmse=1 / epoch)
        if epoch == trial["epochs"]:
            return


def regression(trial: Trial) -> None:
    """A regression with a schedule, a batch norm and random numbers of three kinds; all of it is in `keep`."""
    x = torch.linspace(-1, 1, 128).reshape(-1, 2)
    y = (3 * x).sin().sum(1, keepdim=True)
    net = torch.nn.Sequential(
        torch.nn.Linear(2, trial["hidden"]), torch.nn.BatchNorm1d(trial["hidden"]), torch.nn.ReLU(),
        torch.nn.Dropout(0.1), torch.nn.Linear(trial["hidden"], 1),
    )  # fmt: skip
    optimizer = torch.optim.AdamW(net.parameters(), lr=trial["lr"])
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=trial["lr"], total_steps=4 * trial.last_epoch)
    trial.keep(net=net, optimizer=optimizer, schedule=schedule)
    for _ in trial.epochs():
        net.train()
        for rows in trial.batches(torch.randperm(64).split(16)):
            loss = (net(x[rows]) - y[rows]).square().mean() * (1 + 0.01 * random.random())
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            schedule.step()
        net.eval()
        with torch.no_grad():
            trial.report(loss=loss.item(), rmse=(net(x) - y).square().mean().sqrt())
    ENDED.append(trial.ended)
    if ERRORS:
        raise ERRORS.pop(0)


def test_of_regression(trial: Trial) -> dict[str, float]:
    """Return the number of weights, and whether the batch norm has seen batches: only the network is restored."""
    net = torch.nn.Sequential(
        torch.nn.Linear(2, trial["hidden"]), torch.nn.BatchNorm1d(trial["hidden"]), torch.nn.ReLU(),
        torch.nn.Dropout(0.1), torch.nn.Linear(trial["hidden"], 1),
    )  # fmt: skip
    trial.keep(net=net)
    TESTED.append(trial.number)
    return {"weights": float(sum(p.numel() for p in net.parameters())), "batches": float(net[1].num_batches_tracked)}


def test_without_metrics(trial: Trial) -> None:
    """Return nothing."""


def without_state(trial: Trial) -> None:
    """Report the number of the epoch; nothing is in `keep`."""
    for epoch in trial.epochs():
        trial.report(rmse=1 / epoch)
    ENDED.append(trial.ended)


def raising(trial: Trial) -> None:
    """Raise in the second epoch what the test asks for."""
    for epoch in trial.epochs():
        if epoch == 2 and ERRORS:
            raise ERRORS.pop(0)
        trial.report(rmse=1 / epoch)


def stopping_itself(trial: Trial) -> None:
    """Leave the loop in its second epoch."""
    for epoch in trial.epochs():
        trial.report(rmse=1 / epoch)
        if epoch == 2:
            break


def stopping_early(trial: Trial) -> None:
    """Leave the loop in its third epoch, of whose state each epoch depends."""
    weight = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.ones_(weight.weight)
    trial.keep(weight=weight)
    for epoch in trial.epochs():
        with torch.no_grad():
            weight.weight /= 2
        trial.report(rmse=weight.weight.item())
        if epoch == 3:
            break


def ending_earlier(trial: Trial) -> None:
    """In the first attempt do in the third epoch what a test asks for; in the second one end after two epochs."""
    trial.keep(net=torch.nn.Linear(1, 1))
    attempt = len(ENDED)
    for epoch in trial.epochs():
        if attempt == 1 and epoch == 3:
            if ERRORS:
                raise ERRORS.pop(0)
            break
        trial.report(rmse=10 * attempt + epoch)
        if attempt == 0 and epoch == 3:
            ACTIONS.pop(0)()
    ENDED.append(trial.ended)


def test_of_ending_earlier(trial: Trial) -> dict[str, float]:
    """Restore what was kept, and count the calls."""
    trial.keep(net=torch.nn.Linear(1, 1))
    TESTED.append(trial.number)
    return {"calls": float(len(TESTED))}


def slow(trial: Trial) -> None:
    """Take a while for each epoch."""
    for epoch in trial.epochs():
        time.sleep(0.2)
        trial.report(rmse=1 / epoch)
    ENDED.append(trial.ended)


def endless_from(trial: Trial) -> None:
    """Train batches without an end from the epoch `endless` on."""
    for epoch in trial.epochs():
        for _ in trial.batches(itertools.repeat(0) if epoch >= trial["endless"] else range(3)):
            time.sleep(0.01)
        trial.report(rmse=1 / epoch)


def now_and_then(trial: Trial) -> None:
    """Report the study's metric in every second epoch alone."""
    for epoch in trial.epochs():
        trial.report(size=1234.5, **({"rmse": 1 / epoch} if epoch % 2 == 0 else {}))


def of_another_name(trial: Trial) -> None:
    """Report everything but the study's metric."""
    for epoch in trial.epochs():
        trial.report(loss=1 / epoch, mae=0.5)


def measured_by_the_first(trial: Trial) -> None:
    """Report the study's metric in the first trial alone."""
    for epoch in trial.epochs():
        trial.report(size=1.0, **({"rmse": 1 / epoch} if trial.number == 0 else {}))


def with_latency(trial: Trial) -> None:
    """Larger nets are better, and slower."""
    for epoch in trial.epochs():
        trial.report(rmse=1 / trial["hidden"] + 0.1 / epoch, latency_ms=float(trial["hidden"]))


def diverging(trial: Trial) -> None:
    """Diverge in the first epoch, all trials but those that a test names by `SOUND`."""
    for epoch in trial.epochs():
        trial.report(rmse=1e-7 * (1 + trial["lr"]) / epoch if trial.number in SOUND else float("nan"))


class _Unreadable:
    def state_dict(self) -> dict[str, object]:
        return {"rule": _Unreadable}

    def load_state_dict(self, state: dict[str, object]) -> None: ...


def unreadable(trial: Trial) -> None:
    """Keep a state that would have to be unpickled."""
    trial.keep(odd=_Unreadable())
    for epoch in trial.epochs():
        trial.report(rmse=1 / epoch)


def misbehaving(trial: Trial) -> None:
    """Do in the second epoch what the value `how` says, and report every epoch."""
    for epoch in trial.epochs():
        print(f"epoch {epoch} of trial {trial.number}")
        if epoch == 2:
            misbehave(trial["how"])
        trial.report(rmse=1 / epoch)


def misbehave(how: str) -> None:
    match how:
        case "exit":
            sys.exit(3)
        case "hard exit":
            os._exit(0)
        case "base":
            raise BaseException("no more")
        case "interrupt":
            raise KeyboardInterrupt
        case "fork":
            if os.fork():
                os.wait()  # the other one goes on as if it were the training
        case "crash":
            print("about to crash", file=sys.stderr)
            ctypes.string_at(0)
        case "print":
            for _ in range(100):
                os.write(1, b"x" * 2**20 + b"\n")
        case "leave a child":
            subprocess.Popen(["sleep", "86399"])
            time.sleep(1.5)
            ctypes.CDLL(None)._exit(7)


class _NoState:
    def state_dict(self) -> dict[str, object]:
        if ERRORS:
            raise ERRORS.pop(0)
        return {}

    def load_state_dict(self, state: dict[str, object]) -> None: ...


def under_autocast(trial: Trial) -> None:
    """Report whether autocast is on where the function begins; its loop is under it, and what it keeps may raise."""
    was_on = torch.is_autocast_enabled("cpu")
    trial.keep(part=_NoState())
    with torch.autocast("cpu"):
        for _ in trial.epochs():
            trial.report(rmse=float(was_on))
