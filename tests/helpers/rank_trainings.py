"""Training functions of studies with `gpus=`, each of which runs in several processes; and groups of them."""

from __future__ import annotations

import ctypes
import json
import os
import random
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from caviar.models.training import never
from caviar.studies.workers.trial.training import Leave
from caviar.studies.workers.user.group import GroupTraining
from caviar.studies.workers.user.rank_starter import RankStarter
from caviar.studies.workers.user.trial import Trial

LAST = 4


def open_group(
    starter: RankStarter, function: str, state: dict[str, Any] | None = None, *, ranks: int = 2, leave: Leave = never,
    **values: Any,
) -> GroupTraining:  # fmt: skip
    return GroupTraining(
        starter, ["cpu"] * ranks, state, leave, function=f"tests.helpers.rank_trainings:{function}", number=7,
        values={"lr": 0.01, **values}, seed=(0, "trial", 7), last=LAST, threads=1,
    )  # fmt: skip


def note(trial: Trial, **what: Any) -> None:
    """Write a line to the file that the test reads."""
    with Path(str(trial["notes"])).open("a") as file:
        file.write(json.dumps({"rank": trial.rank, "pid": os.getpid(), **what}) + "\n")


def notes(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def net_of() -> torch.nn.Sequential:
    return torch.nn.Sequential(
        torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.ReLU(), torch.nn.Dropout(0.2), torch.nn.Linear(8, 4)
    )


def train_net(trial: Trial, net: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Train on other data in each rank; rank 0 reports the loss of its own."""
    for _ in trial.epochs():
        for x in trial.batches(torch.randn(4, 8, 4)):
            loss = (net(x) - 1).square().mean() * (1 + 0.01 * random.random())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        trial.report(loss=loss.detach())


def ddp(trial: Trial) -> None:
    net = net_of()
    optimizer = torch.optim.AdamW(net.parameters(), lr=trial["lr"])
    trial.keep(net=net, optimizer=optimizer)
    train_net(trial, DistributedDataParallel(net), optimizer)


def fsdp(trial: Trial) -> None:
    from torch.distributed.fsdp import fully_shard

    net = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.ReLU(), torch.nn.Linear(6, 4))
    for layer in net:
        fully_shard(layer)
    fully_shard(net)
    optimizer = torch.optim.AdamW(net.parameters(), lr=trial["lr"])
    trial.keep(net=net, optimizer=optimizer)
    train_net(trial, net, optimizer)


def noted(trial: Trial) -> None:
    """Note what each rank is given, draws and sees."""
    note(trial, at="build", drawn=random.random(), values=trial.values["lr"], world_size=trial.world_size)
    for epoch in trial.epochs():
        note(trial, at="epoch", epoch=epoch, drawn=random.random(), torch=torch.rand(1).item())
        if trial.rank == 0:
            trial.report(loss=1 / epoch)
    hidden = [name for name in os.environ if name.startswith(("CAVIAR_", "PG"))]
    note(trial, at="end", ended=trial.ended, epoch=trial.epoch, hidden=hidden, local_rank=os.environ["LOCAL_RANK"])


def failing(trial: Trial) -> None:
    """Fail in the second epoch, in the rank and the way that the test asks for; the other one waits for it."""
    net = torch.nn.Linear(2, 2)
    trial.keep(net=net)
    note(trial, at="build")
    for epoch in trial.epochs():
        for _ in trial.batches(range(3)):
            dist.all_reduce(torch.ones(1))
        if epoch == 2 and trial.rank == trial["rank"]:
            fail(trial, str(trial["how"]))
        dist.all_reduce(torch.ones(1))
        trial.report(loss=1 / epoch)


def fail(trial: Trial, how: str) -> None:
    if how == "raise":
        raise ValueError("no good")
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "crash":
        ctypes.string_at(0)
    if how == "exit":
        os._exit(3)
    if how == "memory":
        raise torch.OutOfMemoryError("CUDA out of memory")
    if how == "starter":
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(60)
    if how == "sleep":  # without a sign of life
        time.sleep(600)
    if how == "hang":
        for _ in trial.batches(iter(int, 1)):
            time.sleep(0.01)


def returning(trial: Trial) -> None:
    """Come to its end in one rank, while the other one waits for it, but not for ever."""
    group = dist.new_group(timeout=timedelta(seconds=1))
    for epoch in trial.epochs():
        if epoch == 2 and trial.rank == 1:
            return
        dist.all_reduce(torch.ones(1), group=group)
        trial.report(loss=1)


def parting(trial: Trial) -> None:
    """Leave in one rank, in the second epoch or before the first; the other one waits for it, or trains on."""
    how, leaves = trial["how"], trial.rank == trial["rank"]
    if how == "at once" and leaves:
        return
    for epoch in trial.epochs():
        if epoch == 2 and leaves:
            if how == "exit":
                ctypes.CDLL(None)._exit(0)  # which no Python code can hold
            return
        if how == "wait":
            dist.all_reduce(torch.ones(1))
        trial.report(loss=1)


def parting_slowly(trial: Trial) -> None:
    """Leave in the second epoch in all ranks, but in one of them late."""
    trial.keep(net=torch.nn.Linear(2, 2))
    for epoch in trial.epochs():
        dist.all_reduce(torch.ones(1))
        trial.report(loss=1 / epoch)
        if epoch == 2:
            time.sleep(2.5 * trial.rank)
            break


def building(trial: Trial) -> None:
    """Take for ever before the first epoch."""
    note(trial, at="build")
    time.sleep(600)


def reporting(trial: Trial) -> None:
    """Report in one rank alone."""
    for _ in trial.epochs():
        if trial.rank == trial["rank"]:
            trial.report(loss=1)


def reporting_too_early(trial: Trial) -> None:
    """Report in one rank outside of the loop."""
    if trial.rank == 1:
        trial.report(loss=1)
    for _ in trial.epochs():
        trial.report(loss=1)


def stopping_itself(trial: Trial) -> None:
    net = torch.nn.Linear(2, 2)
    trial.keep(net=net)
    for epoch in trial.epochs():
        trial.report(loss=1 / epoch)
        if epoch == 2:
            break


def with_children(trial: Trial) -> None:
    """Start a process in each rank's group, and one outside of it."""
    for alone in (False, True):
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=alone)
        note(trial, at="child", child=child.pid)
    failing(trial)


def slow_end(trial: Trial) -> None:
    for _ in trial.epochs():
        trial.report(loss=1)
    note(trial, at="end")
    if trial.rank == 1:
        raise ValueError("behind the loop")


def slow(trial: Trial) -> None:
    """Train like `ddp`, with time to be disturbed."""
    net = net_of()
    optimizer = torch.optim.AdamW(net.parameters(), lr=trial["lr"])
    trial.keep(net=net, optimizer=optimizer)
    worker = parent_of(os.getppid())
    shared = DistributedDataParallel(net)
    for epoch in trial.epochs():
        note(trial, epoch=epoch, worker=worker, folder=folder_of())
        print(f"rank {trial.rank} of trial {trial.number} trains epoch {epoch}")
        for x in trial.batches(torch.randn(4, 8, 4)):
            time.sleep(0.02)
            loss = (shared(x) - 1).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        trial.report(loss=loss.detach())


def folder_of() -> str:
    """Return the folder between this rank and its worker, in which it has a file open."""
    files = [os.path.realpath(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd")]
    return next(str(Path(file).parent) for file in files if "caviar-ranks-" in file)


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
