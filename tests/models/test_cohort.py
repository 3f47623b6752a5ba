"""A trial is the same alone and in a cohort, whoever else is in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from caviar.epoch import Epoch
from caviar.models.checkpoint import from_bytes, to_bytes
from caviar.models.cnn import CNN
from caviar.models.cohort import Cohort
from caviar.models.cohort_kinds import groups, kind, why_alone
from caviar.models.data import Data, load
from caviar.models.mlp import MLP
from caviar.models.optim import Settings
from caviar.models.training import Interrupted, Training
from tests.helpers.epochs import figures

# Sums are made in another order than alone, and training amplifies that; most of all Adam, which divides a gradient
# that is all rounding by its own size. Of a loss of about 1, in the first epoch and later; of accuracy, in images.
FIRST, LOSS, IMAGES = 1e-3, 1e-2, 5
EPOCHS = 5


@pytest.fixture(scope="module", params=["cpu", *(["cuda"] if torch.cuda.is_available() else [])])
def digits(request: pytest.FixtureRequest) -> Iterator[Data]:
    torch.set_num_threads(1)
    torch.backends.cudnn.allow_tf32 = False  # ten bits of convolutions, alone and together
    yield load("digits", Path("nowhere"), torch.device(request.param))
    torch.backends.cudnn.allow_tf32 = True


def make(data: Data, number: int, state: Any = None, model: Any = MLP, **fields: Any) -> Training:
    of_model = {n: fields.pop(n) for n in list(fields) if n not in Settings.__dataclass_fields__}
    settings = Settings(**{"batch_size": 64, **fields})
    return Training(partial(model, **of_model), settings, data, 100 + number, state)


def alone(training: Training, last: int = EPOCHS) -> list[Epoch]:
    return list(training.epochs(last))


def together(trainings: Sequence[Training], epochs: int = EPOCHS) -> list[list[Epoch]]:
    cohort = Cohort(trainings)
    return [list(curve) for curve in zip(*(cohort.epoch() for _ in range(epochs)), strict=True)]


def assert_same(curve: Sequence[Epoch], other: Sequence[Epoch]) -> None:
    assert [e.epoch for e in curve] == [e.epoch for e in other]
    for one, two in zip(curve, other, strict=True):
        assert one.metrics["learning_rate"] == two.metrics["learning_rate"]
        assert one.metrics["training_loss"] == pytest.approx(
            two.metrics["training_loss"], abs=LOSS if one.epoch > 1 else FIRST
        )
        assert one.metrics["validation_loss"] == pytest.approx(two.metrics["validation_loss"], abs=LOSS)
        assert one.metrics["accuracy"] == pytest.approx(two.metrics["accuracy"], abs=IMAGES / 359)


SGD = [
    {"learning_rate": 0.1},
    {"learning_rate": 0.02, "momentum": 0.99, "decay": 0.3},
    {"learning_rate": 0.5, "momentum": 0.0},
    {"learning_rate": 0.05, "momentum": 0.5, "weight_decay": 1e-3},
]
ADAM = [
    {"learning_rate": 0.001},
    {"learning_rate": 0.01, "beta1": 0.5, "decay": 0.3},
    {"learning_rate": 0.002, "beta2": 0.9, "epsilon": 1e-4},
    {"learning_rate": 0.001, "weight_decay": 1e-2},
]
WIDTHS = [{"hidden_units": 64}, {"hidden_units": 50}, {"hidden_units": 70}, {"hidden_units": 64}]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "of_model"),
    [
        (MLP, [{}] * 4),
        (MLP, WIDTHS),
        (MLP, [{"activation": "tanh", "layers": 3, **w} for w in WIDTHS]),
        (MLP, [{"activation": "gelu", "layers": 1, **w} for w in WIDTHS]),
        (MLP, [{**w, "dropout": d} for w, d in zip(WIDTHS, (0.0, 0.2, 0.5, 0.1), strict=True)]),
        (CNN, [{"channels": 4, "hidden_units": 16}] * 4),
    ],
    ids=["mlp", "widths", "tanh", "gelu", "dropout", "cnn"],
)
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_member_has_the_curve_that_it_has_alone(digits: Data, optimizer: str, model: Any, of_model: Any) -> None:
    settings = [{"optimizer": optimizer, **s} for s in (SGD if optimizer == "sgd" else ADAM)]
    fields = [{"model": model, **s, **m} for s, m in zip(settings, of_model, strict=True)]
    curves = together([make(digits, number, **f) for number, f in enumerate(fields)])
    for number, f in enumerate(fields):
        assert_same(curves[number], alone(make(digits, number, **f)))


def test_accuracies_are_shares_of_images_to_the_last_digit(digits: Data) -> None:
    """0.9806 and 0.98059999 are the same images of 10,000, but not where the better one is sought."""
    count = len(digits.validation.y)
    curves = together([make(digits, number) for number in range(3)])
    assert all(
        result.metrics["accuracy"] == round(result.metrics["accuracy"] * count) / count
        for curve in curves
        for result in curve
    )


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("first_alone", [True, False])
def test_a_checkpoint_of_either_goes_on_in_the_other(digits: Data, optimizer: str, first_alone: bool) -> None:
    settings = [{"optimizer": optimizer, **s} for s in (SGD if optimizer == "sgd" else ADAM)]

    def members(states: Sequence[Any]) -> list[Training]:
        return [make(digits, n, states[n], **s, **WIDTHS[n]) for n, s in enumerate(settings)]

    begun = members([None] * 4)
    first = [alone(m, 2) for m in begun] if first_alone else together(begun, 2)
    states = [from_bytes(to_bytes(m.state()), m.data.training.y.device) for m in begun]
    assert all(len(to_bytes(m.state())) < 400_000 for m in begun)  # its own weights, and no other member's
    again = members(states)
    rest = together(again, 3) if first_alone else [alone(m) for m in again]
    for number, s in enumerate(settings):
        assert_same(first[number] + rest[number], alone(make(digits, number, **s, **WIDTHS[number])))
    if not first_alone:  # and without a checkpoint, the member itself
        for number, member in enumerate(begun):
            theirs, own = rest[number], alone(member)
            assert figures(own) == figures(theirs)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_convolutional_network_goes_on_alone_from_a_cohort_and_its_checkpoint(digits: Data, optimizer: str) -> None:
    fields = {"model": CNN, "channels": 4, "hidden_units": 16, "optimizer": optimizer, "learning_rate": 0.01}
    begun = [make(digits, n, **fields) for n in range(2)]
    first = together(begun, 2)
    states = [from_bytes(to_bytes(m.state()), m.data.training.y.device) for m in begun]
    for number, member in enumerate(begun):
        expected = alone(make(digits, number, **fields))
        assert_same([*first[number], *alone(make(digits, number, states[number], **fields))], expected)
        assert_same([*first[number], *alone(member)], expected)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_averages_that_lie_otherwise_in_memory_are_laid_out_as_their_weights(digits: Data, optimizer: str) -> None:
    """Fused optimizers take it for granted; a checkpoint of an earlier version has them otherwise."""
    fields = {"model": CNN, "optimizer": optimizer, "learning_rate": 0.01}
    begun = make(digits, 0, **fields)
    first, state = alone(begun, 2), begun.state()
    for averages in state["optimizer"]["state"].values():
        averages.update({name: value.contiguous() for name, value in averages.items()})
    rest = alone(make(digits, 0, from_bytes(to_bytes(state), digits.training.y.device), **fields))
    expected = alone(make(digits, 0, **fields))[-1].metrics["validation_loss"]
    rounding = 0.0 if digits.training.y.device.type == "cpu" else 1e-3  # a GPU sums in no certain order
    assert [*first, *rest][-1].metrics["validation_loss"] == pytest.approx(expected, rel=rounding, abs=0)


def test_members_come_and_go_and_diverge_without_disturbing_the_others(digits: Data) -> None:
    members = [make(digits, n, **s) for n, s in enumerate(SGD)]
    bad = make(digits, 9, learning_rate=1e6)
    curves: dict[int, list[Epoch]] = {n: [] for n in range(4)}
    for epoch in range(EPOCHS + 1):
        there = [n for n in range(4) if (n != 1 or epoch < 2) and (n != 3 or epoch > 0) and len(curves[n]) < EPOCHS]
        results = Cohort([*(members[n] for n in there), bad]).epoch()
        for n, result in zip(there, results, strict=False):
            curves[n].append(result)
    for n, count in enumerate((EPOCHS, 2, EPOCHS, EPOCHS)):
        assert_same(curves[n], alone(make(digits, n, **SGD[n]), count))


def test_a_member_does_not_depend_on_its_company(digits: Data) -> None:
    one = together([make(digits, n, **s) for n, s in enumerate(SGD)])[0]
    other = together([make(digits, n, **SGD[0]) if n == 0 else make(digits, n + 50) for n in range(4)])[0]
    assert_same(one, other)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_cohort_that_is_made_and_not_used_leaves_no_trace(digits: Data, optimizer: str) -> None:
    members = [make(digits, n, optimizer=optimizer, learning_rate=0.01) for n in range(2)]
    Cohort(members)
    curves = together(members, 2)
    Cohort(members)
    for n, member in enumerate(members):
        assert_same([*curves[n], *alone(member)], alone(make(digits, n, optimizer=optimizer, learning_rate=0.01)))


def test_the_ends_of_the_ranges(digits: Data) -> None:
    # torch's Adam on a GPU takes denormal numbers for 0, and 1-β2 below float32's precision.
    epsilon, beta2 = (1e-45, 0.99999999) if digits.training.y.device.type == "cpu" else (1e-37, 0.999999)
    fields = [
        {"hidden_units": 50, "dropout": 1.0, "optimizer": "adam", "epsilon": epsilon, "activation": "tanh"},
        {"hidden_units": 64, "optimizer": "adam", "beta2": beta2, "activation": "tanh", "learning_rate": 1e-3},
    ]
    curves = together([make(digits, n, **f) for n, f in enumerate(fields)], 2)
    for n, f in enumerate(fields):
        assert_same(curves[n], alone(make(digits, n, **f), 2))


def test_an_epoch_can_be_left_in_its_middle(digits: Data) -> None:
    looks = iter([False, False, True])
    with pytest.raises(Interrupted):
        Cohort([make(digits, 0), make(digits, 1)]).epoch(lambda: next(looks))


def test_what_one_cohort_can_hold(digits: Data) -> None:
    narrow = [make(digits, n, hidden_units=w) for n, w in enumerate((50, 60, 70, 80))]
    wide = make(digits, 5, hidden_units=600)
    deep = make(digits, 6, layers=3)
    large = make(digits, 7, batch_size=128)
    adam = make(digits, 8, optimizer="adam")
    found = groups([wide, *narrow, deep, large, adam])
    assert sorted(map(len, found)) == [1, 1, 1, 1, 4]
    assert narrow in found
    with pytest.raises(ValueError, match="of one kind"):
        Cohort([narrow[0], deep])
    assert kind(narrow[0]) == kind(narrow[3])
    assert len(groups([make(digits, n, model=CNN, dropout=0.5) for n in range(2)])) == 2  # draws numbers of its own


class Normalised(nn.Module):
    """A user's network with averages of its own, and parameters that are no convolution's."""

    def __init__(self, sample: tuple[int, ...], classes: int, *, channels: int = 4) -> None:
        super().__init__()
        self.mix = nn.Parameter(torch.randn(channels, sample[0], 3, 3) / 3)
        self.norm = nn.BatchNorm2d(channels)
        self.out = nn.Linear(channels * sample[1] * sample[2], classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weights = self.mix.view(self.mix.shape[0], -1).view(self.mix.shape)  # only where they lie as they were made
        x = torch.relu(self.norm(nn.functional.conv2d(x, weights, padding=1)))
        return self.out(x.flatten(1))  # type: ignore[no-any-return]


class Volume(nn.Module):
    def __init__(self, sample: tuple[int, ...], classes: int) -> None:
        super().__init__()
        self.body, self.out = nn.Conv3d(1, 2, (1, 3, 3)), nn.Linear(2 * 36, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.body(x.unsqueeze(1)).flatten(1))  # type: ignore[no-any-return]


def test_averages_of_a_network_of_the_users_are_each_members_own(digits: Data) -> None:
    fields = [{"model": Normalised, "learning_rate": rate} for rate in (0.01, 0.05, 0.1)]
    members = [make(digits, n, **f) for n, f in enumerate(fields)]
    assert why_alone(members[0]) is None
    curves = together(members, 3)
    for n, f in enumerate(fields):
        assert_same(curves[n], alone(make(digits, n, **f), 3))
        assert_same([*curves[n], *alone(members[n])], alone(make(digits, n, **f)))


def test_networks_of_any_dimension_train(digits: Data) -> None:
    assert alone(make(digits, 0, model=Volume), 1)[0].metrics["training_loss"] > 0
    assert why_alone(make(digits, 1, model=Volume)) is None
