"""What a training function holds and does not save: it is named if it changes, and left out if it cannot matter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import ConstantLR, LinearLR, SequentialLR, StepLR
from torch.utils.data import DataLoader, Dataset

from caviar.studies.check.probe import Kind, Unsaved
from caviar.studies.check.unsaved import UnsavedWatch
from caviar.studies.workers.trial.training import Ended
from caviar.studies.workers.user.trial import Trial
from tests.helpers.frameworks import open_training


def found(train: Callable[[Trial], None]) -> dict[str, Unsaved]:
    """Return what is found in two epochs of a training, by the name of its variable."""
    from caviar.models.training import never

    training = open_training(train)
    watch = UnsavedWatch(training)
    watch.look()
    for _, _ in zip(range(2), training.epochs(4, never), strict=False):
        watch.look()
    unsaved = {each.name: each for each in watch.found()}
    training.close(Ended.LOST)  # with the workers of its loaders, whose end would be an error in a later test
    return unsaved


def learn(net: nn.Module, *optimizers: torch.optim.Optimizer) -> None:
    for optimizer in optimizers:
        optimizer.zero_grad()
        net(torch.rand(2, 3)).square().mean().backward()
        optimizer.step()


class Wrapper(nn.Module):
    """As DistributedDataParallel is."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.module(x)  # type: ignore[no-any-return]


class Own:
    """An object of the user's own, with the states of several in its own."""

    def __init__(self, **parts: Any) -> None:
        self.parts = parts

    def state_dict(self) -> dict[str, Any]:
        return {f"my {name}": part.state_dict() for name, part in self.parts.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class Rows(Dataset[int]):
    def __len__(self) -> int:
        return 2

    def __getitem__(self, row: int) -> int:
        return row


def test_what_changes_is_named() -> None:
    def train(trial: Trial) -> None:
        net, order = nn.Linear(3, 1), torch.Generator()
        both = [torch.optim.Adam(net.parameters()), torch.optim.Adam(net.parameters(), lr=0.1)]
        trial.keep(first=both[0])
        for _ in trial.epochs():
            torch.randperm(3, generator=order)
            learn(net, *both)
            trial.report(loss=1)

    unsaved = found(train)
    assert {name: (each.kind, each.changes) for name, each in unsaved.items()} == {
        "net": (Kind.STATE, True), "order": (Kind.GENERATOR, True), "both[1]": (Kind.STATE, True),
    }  # fmt: skip


def test_what_may_change_in_a_later_epoch_is_named_too() -> None:
    def train(trial: Trial) -> None:
        net = nn.Linear(3, 1)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        schedule = StepLR(optimizer, 5)
        trial.keep(net=net)
        for _ in trial.epochs():
            learn(net, optimizer)
            trial.report(loss=1)
        schedule.step()

    unsaved = found(train)
    assert {name: each.changes for name, each in unsaved.items()} == {"optimizer": False, "schedule": False}


def test_two_schedules_with_the_same_state_are_told_apart() -> None:
    def train(trial: Trial) -> None:
        net = nn.Linear(3, 1)
        optimizer, other = torch.optim.Adam(net.parameters()), torch.optim.Adam(net.parameters())
        one, two = StepLR(optimizer, 5), StepLR(other, 5)
        trial.keep(net=net, optimizer=optimizer, other=other, one=one)
        for _ in trial.epochs():
            learn(net, optimizer, other)
            one.step()
            two.step()
            trial.report(loss=1)

    assert list(found(train)) == ["two"]


def innocents(trial: Trial) -> None:
    criterion, data, frozen = nn.MSELoss(), torch.Generator(), nn.Linear(1, 1)
    torch.rand(3, generator=data)
    net = nn.Linear(3, 1)
    optimizer = torch.optim.Adam(net.parameters())
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    trial.keep(net=net, optimizer=optimizer)
    for _ in trial.epochs():
        order = torch.Generator().manual_seed(3)
        torch.randperm(3, generator=order)
        learn(net, optimizer)
        trial.report(loss=criterion(frozen(torch.ones(1)), torch.ones(1)))
    scaler.update()


def wrapped(trial: Trial) -> None:
    net = nn.Sequential(nn.Linear(3, 1), nn.BatchNorm1d(1))
    whole, last = Wrapper(net), net[1]
    optimizer = torch.optim.Adam(net.parameters())
    warm, cool = LinearLR(optimizer), ConstantLR(optimizer)
    schedule = SequentialLR(optimizer, [warm, cool], [1])
    trial.keep(net=net, optimizer=optimizer, schedule=schedule)
    for _ in trial.epochs():
        learn(whole, optimizer)
        schedule.step()
        trial.report(loss=last.bias.sum())


def by_an_own_object(trial: Trial) -> None:
    net = nn.Linear(3, 1)
    optimizer = torch.optim.Adam(net.parameters())
    schedule = StepLR(optimizer, 5)
    trial.keep(own=Own(net=net, optimizer=optimizer, schedule=schedule))
    for _ in trial.epochs():
        learn(net, optimizer)
        schedule.step()
        trial.report(loss=1)


@pytest.mark.parametrize("train", [innocents, wrapped, by_an_own_object])
def test_what_is_saved_in_another_way_or_cannot_matter_is_left_out(train: Callable[[Trial], None]) -> None:
    assert found(train) == {}


@pytest.mark.parametrize(("by_trial", "kinds"), [(False, [Kind.WORKERS]), (True, [])])
def test_workers_that_outlive_an_epoch_are_named(by_trial: bool, kinds: list[Kind]) -> None:
    def train(trial: Trial) -> None:
        loader = DataLoader(Rows(), num_workers=1, persistent_workers=True)
        trial.keep(net=nn.Linear(1, 1))
        for _ in trial.epochs():
            trial.report(loss=sum(trial.batches(loader) if by_trial else loader))

    assert [each.kind for each in found(train).values()] == kinds
