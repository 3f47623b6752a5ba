"""A training function takes turns with the worker: its epochs, what it saves, and how it comes to its end."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
import torch

from caviar.models.checkpoint import from_bytes, to_bytes
from caviar.models.errors import BadCheckpoint
from caviar.models.training import Interrupted, never
from caviar.studies.errors import TrialMisused
from caviar.studies.workers.trial.training import Ended
from caviar.studies.workers.user.loop import Loop
from caviar.studies.workers.user.loop_training import LoopTraining
from caviar.studies.workers.user.trial import Trial
from caviar.studies.workers.user.turns import FunctionTurns

CPU = torch.device("cpu")


def open_training(
    function: Callable[[Trial], object], state: dict[str, Any] | None = None, *, last: int = 4, **values: float
) -> LoopTraining:
    def make(loop: Loop) -> Trial:
        return Trial(7, {"learning_rate": 0.1, **values}, CPU, loop)

    return LoopTraining(FunctionTurns(function), make, (0, "trial", 7), last, state)


def saved(training: LoopTraining) -> dict[str, Any]:
    """Return a training's state as another process reads it."""
    state = training.state()
    assert state is not None
    return from_bytes(to_bytes(state), CPU)


def noisy(trial: Trial) -> None:
    """Train a small network with everything that has a state of its own, or draws random numbers."""
    net = torch.nn.Sequential(
        torch.nn.Linear(3, 8), torch.nn.Dropout(0.5), torch.nn.BatchNorm1d(8), torch.nn.Linear(8, 1)
    )
    optimizer = torch.optim.AdamW(net.parameters(), lr=trial["learning_rate"])
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=trial.last_epoch * 5)
    trial.keep(net=net, optimizer=optimizer, schedule=schedule)
    for _ in trial.epochs():
        for x in trial.batches(torch.randn(5, 6, 3)):
            loss = (net(x) - random.random()).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        trial.report(loss=loss, rate=schedule.get_last_lr()[0])


def test_an_epoch_is_what_was_reported_in_it() -> None:
    def train(trial: Trial) -> None:
        for epoch in trial.epochs():
            trial.report(rmse=10 - epoch)
            trial.report(loss=torch.tensor(0.5), rmse=9 - epoch)

    epochs = list(open_training(train, last=2).epochs(2, never))

    assert [(e.epoch, dict(e.metrics)) for e in epochs] == [
        (1, {"rmse": 8, "loss": 0.5}),
        (2, {"rmse": 7, "loss": 0.5}),
    ]


@pytest.mark.parametrize("at", [1, 2, 3])
def test_a_training_that_goes_on_elsewhere_has_the_same_curve_to_the_last_bit(at: int) -> None:
    undisturbed = [dict(epoch.metrics) for epoch in open_training(noisy).epochs(4, never)]

    first = open_training(noisy)
    before = [dict(epoch.metrics) for _, epoch in zip(range(at), first.epochs(4, never), strict=False)]
    torch.manual_seed(12345)
    after = [dict(epoch.metrics) for epoch in open_training(noisy, saved(first)).epochs(4, never)]

    assert before + after == undisturbed


def test_the_build_and_the_first_epoch_have_random_numbers_of_their_own() -> None:
    drawn: list[float] = []

    def train(trial: Trial) -> None:
        drawn.append(random.random())
        for _ in trial.epochs():
            drawn.append(random.random())
            trial.report(loss=0)

    list(open_training(train, last=2).epochs(2, never))

    assert len(set(drawn)) == 3


def test_the_code_behind_the_loop_runs_when_the_trial_has_ended() -> None:
    seen: list[object] = []

    def train(trial: Trial) -> None:
        for _ in trial.epochs():
            seen.append(trial.ended)
            trial.report(loss=1)
        seen.append(trial.ended)

    training = open_training(train)
    next(iter(training.epochs(4, never)))
    training.close(Ended.PRUNED)

    assert seen == [None, Ended.PRUNED]


def test_a_loop_that_is_left_by_the_function_ends_the_training_with_what_it_reported() -> None:
    def train(trial: Trial) -> None:
        for epoch in trial.epochs():
            trial.report(loss=1 / epoch)
            if epoch == 2:
                break

    training = open_training(train)

    assert [epoch.epoch for epoch in training.epochs(4, never)] == [1, 2]
    assert training.epoch == 2


def test_an_epoch_is_left_between_two_batches() -> None:
    batches = 0

    def train(trial: Trial) -> None:
        nonlocal batches
        for _ in trial.epochs():
            try:
                for _ in trial.batches(range(10)):
                    batches += 1
            except Exception:  # noqa: BLE001
                pytest.fail("the user's `except Exception` sees it")
            trial.report(loss=1)

    training = open_training(train)

    with pytest.raises(Interrupted):
        next(iter(training.epochs(4, lambda: batches == 3)))
    training.close(Ended.GIVEN_BACK)
    assert batches == 3


@pytest.mark.parametrize("raised", [None, ValueError("in its own handler")])
def test_an_epoch_is_left_whatever_the_code_makes_of_it(raised: Exception | None) -> None:
    def train(trial: Trial) -> None:
        for _ in trial.epochs():
            try:
                list(trial.batches(range(10)))
            except BaseException:  # noqa: BLE001
                if raised is not None:
                    raise raised from None
                return

    with pytest.raises(Interrupted):
        next(iter(open_training(train).epochs(4, lambda: True)))


def test_a_function_that_keeps_nothing_has_no_state() -> None:
    def train(trial: Trial) -> None:
        for _ in trial.epochs():
            trial.report(loss=1)

    assert open_training(train).state() is None


class _Pickled:
    def state_dict(self) -> dict[str, object]:
        return {"step": 1, "inner": [{"rule": _Pickled}]}

    def load_state_dict(self, state: dict[str, object]) -> None: ...


@pytest.mark.parametrize(
    ("kept", "message"),
    [
        ({"net": 3}, r"trial.keep\(net=...\) got a int"),
        ({"odd": _Pickled()}, r"the state odd\['inner'\]\[0\]\['rule'\] is a type"),
    ],
)
def test_what_cannot_be_saved_is_refused_by_its_name(kept: dict[str, object], message: str) -> None:
    def train(trial: Trial) -> None:
        trial.keep(**kept)
        for _ in trial.epochs():
            trial.report(loss=1)

    with pytest.raises(TrialMisused, match=message):
        open_training(train).state()


def test_a_state_that_does_not_fit_is_refused() -> None:
    first = open_training(noisy)
    next(iter(first.epochs(4, never)))
    state = saved(first)

    def without_schedule(trial: Trial) -> None:
        trial.keep(net=torch.nn.Linear(3, 1))
        list(trial.epochs())

    def nothing(trial: Trial) -> None:
        list(trial.epochs())

    with pytest.raises(BadCheckpoint, match="does not fit 'net'"):
        open_training(without_schedule, state)
    with pytest.raises(BadCheckpoint, match="the checkpoint has 'net', 'optimizer', 'schedule', which"):
        open_training(nothing, state)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("pass", "ended before its first epoch"),
        ("trial.report(loss=1)", "outside of the loop"),
        ("for _ in trial.epochs(): pass", "epoch 1 reported nothing"),
        ("for _ in trial.epochs(): trial.report(loss='low')", "loss.*is 'low', which is no number"),
        ("for _ in trial.epochs(): trial.keep(net=torch.nn.Linear(1, 1))", "call it before"),
        ("for _ in trial.epochs(): list(trial.epochs())", "called twice"),
        ("trial['learning_rat']", "no hyperparameter 'learning_rat'; did you mean learning_rate"),
    ],
)
def test_a_mistake_in_the_use_of_a_trial_is_an_error_that_says_what_to_do(lines: str, message: str) -> None:
    def train(trial: Trial) -> None:
        exec(lines, {"trial": trial, "torch": torch})

    with pytest.raises(TrialMisused, match=message):
        list(open_training(train).epochs(4, never))
