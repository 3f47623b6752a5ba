"""Training: resumed bit for bit in another process, by the documented formulas, and seeded."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import caviar.models.cohort
import caviar.models.training
from caviar.models.checkpoint import from_bytes, to_bytes
from caviar.models.cohort import Cohort
from caviar.models.data import Data, load
from caviar.models.errors import BadCheckpoint
from caviar.models.optim import Settings, learning_rate, make_optimizer
from caviar.models.registry import model_class
from caviar.models.training import Interrupted, Training, evaluate
from tests.helpers.epochs import figures

CPU = torch.device("cpu")
CASES = [(model, optimizer) for model in ("mlp", "cnn") for optimizer in ("sgd", "adam")]


@pytest.fixture(scope="module")
def digits() -> Data:
    torch.set_num_threads(1)
    return load("digits", Path("nowhere"), CPU)


def make(data: Data, model: str, optimizer: str, state: dict[str, Any] | None = None, seed: int = 3) -> Training:
    rate = 0.1 if optimizer == "sgd" else 0.003
    settings = Settings(learning_rate=rate, batch_size=128, decay=0.1, optimizer=optimizer)
    return Training(partial(model_class(model), dropout=0.2, layers=2), settings, data, seed, state)


_GO_ON = """
import json, sys, torch
from pathlib import Path
from caviar.models.checkpoint import from_bytes
from caviar.models.data import load
from tests.helpers.epochs import figures
from tests.models.test_training import make
torch.set_num_threads(1)
state = from_bytes(Path(sys.argv[1]).read_bytes(), torch.device("cpu"))
training = make(load("digits", Path("nowhere"), torch.device("cpu")), sys.argv[2], sys.argv[3], state)
print(json.dumps([figures(list(training.epochs(10))), [p.double().sum().item() for p in training.model.parameters()]]))
"""


@pytest.mark.slow
@pytest.mark.parametrize(("model", "optimizer"), CASES)
def test_resumed_in_a_new_process_it_gives_the_same_curve_bit_for_bit(
    digits: Data, model: str, optimizer: str, tmp_path: Path, root: Path
) -> None:
    whole = make(digits, model, optimizer)
    expected = figures(list(whole.epochs(10)))
    first = make(digits, model, optimizer)
    assert figures(list(first.epochs(4))) == expected[:4]
    kept = tmp_path / "state"
    kept.write_bytes(to_bytes(first.state()))
    said = subprocess.run(
        [sys.executable, "-c", _GO_ON, str(kept), model, optimizer],
        cwd=root, capture_output=True, text=True, check=True,
    )  # fmt: skip
    rest, weights = json.loads(said.stdout)
    assert [tuple(epoch) for epoch in rest] == expected[4:]
    assert weights == [p.double().sum().item() for p in whole.model.parameters()]


@pytest.mark.parametrize(("model", "optimizer"), CASES)
def test_it_learns(digits: Data, model: str, optimizer: str) -> None:
    results = list(make(digits, model, optimizer).epochs(10))
    assert results[-1].metrics["accuracy"] > 0.5
    assert results[-1].metrics["training_loss"] < results[0].metrics["training_loss"]


def test_another_seed_is_another_run(digits: Data) -> None:
    runs = [figures(list(make(digits, "mlp", "sgd", seed=seed).epochs(1))) for seed in (1, 1, 2)]
    assert runs[0] == runs[1] != runs[2]


def test_each_epoch_is_shuffled_anew(digits: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    orders = []
    real = torch.randperm

    def spy(*args: Any, **named: Any) -> torch.Tensor:
        orders.append(real(*args, **named))
        return orders[-1]

    monkeypatch.setattr(torch, "randperm", spy)
    list(make(digits, "mlp", "sgd").epochs(2))
    assert not torch.equal(orders[0], orders[1])
    assert torch.equal(orders[0].sort().values, orders[1].sort().values)


def test_the_learning_rate_decays_as_documented(digits: Data) -> None:
    settings = Settings(learning_rate=0.2, decay=1.0)
    assert [learning_rate(settings, epoch) for epoch in range(4)] == pytest.approx([0.2, 0.1, 0.2 / 3, 0.05])
    assert [r.metrics["learning_rate"] for r in make(digits, "mlp", "sgd").epochs(3)] == pytest.approx(
        [0.1, 0.1 / 1.1, 0.1 / 1.2]
    )


def _step(make_optimizer_: Callable[[list[nn.Parameter]], torch.optim.Optimizer], steps: int) -> list[float]:
    """Minimise (w - 3)^2 from w = 0, and return w after each step."""
    weight = nn.Parameter(torch.zeros(1, dtype=torch.float64))
    optimizer = make_optimizer_([weight])
    path = []
    for _ in range(steps):
        optimizer.zero_grad()
        ((weight - 3) ** 2).sum().backward()
        optimizer.step()
        path.append(weight.item())
    return path


def test_momentum_is_an_exponentially_weighted_average() -> None:
    settings = Settings(learning_rate=0.1, momentum=0.9)
    w, v, expected = 0.0, None, []
    for _ in range(20):  # v = beta v + (1 - beta) g, begun with the first gradient; w = w - alpha v
        gradient = 2 * (w - 3)
        v = gradient if v is None else 0.9 * v + (1 - 0.9) * gradient
        w -= 0.1 * v
        expected.append(w)
    assert _step(lambda p: make_optimizer(p, settings), 20) == pytest.approx(expected, rel=1e-12)


def test_adam_is_the_published_algorithm() -> None:
    settings = Settings(learning_rate=0.1, optimizer="adam", beta1=0.8, beta2=0.99, epsilon=1e-6)
    w, m, v, expected = 0.0, 0.0, 0.0, []
    for t in range(1, 21):  # Kingma and Ba, https://arxiv.org/abs/1412.6980, algorithm 1
        g = 2 * (w - 3)
        m, v = 0.8 * m + 0.2 * g, 0.99 * v + 0.01 * g * g
        w -= 0.1 * (m / (1 - 0.8**t)) / ((v / (1 - 0.99**t)) ** 0.5 + 1e-6)
        expected.append(w)
    assert _step(lambda p: make_optimizer(p, settings), 20) == pytest.approx(expected, rel=1e-9)


def test_losses_are_means_per_example_whatever_the_batch(digits: Data) -> None:
    training = make(digits, "mlp", "sgd")
    loss, accuracy = evaluate(training.model, digits.validation, training.measures).values()
    logits = training.model(digits.validation.x)
    assert loss == pytest.approx(nn.functional.cross_entropy(logits, digits.validation.y).item(), rel=1e-5)
    assert accuracy == pytest.approx((logits.argmax(1) == digits.validation.y).double().mean().item())


@pytest.mark.parametrize("together", [False, True])
def test_validation_asks_between_its_batches_whether_to_leave(
    digits: Data, monkeypatch: pytest.MonkeyPatch, together: bool
) -> None:
    """Each time is a sign of life; an epoch that is left in its validation is not finished."""

    def run(leave: Callable[[], bool]) -> list[Training]:
        trainings = [make(digits, "mlp", "sgd", seed=seed) for seed in range(1 + together)]
        Cohort(trainings).epoch(leave) if together else next(trainings[0].epochs(1, leave))
        return trainings

    for module in (caviar.models.training, caviar.models.cohort):
        monkeypatch.setattr(module, "_EVALUATION_BATCH", 100)
    asked = count(1)
    (whole, *_) = run(lambda: not next(asked))
    batches = math.ceil(len(digits.training.y) / 128) + math.ceil(len(digits.validation.y) / 100)
    assert (whole.epoch, next(asked)) == (1, batches + 1)
    asked = count(1)
    with pytest.raises(Interrupted):
        run(lambda: next(asked) == batches)


def test_a_checkpoint_of_another_network_is_refused(digits: Data) -> None:
    state = make(digits, "cnn", "sgd").state()
    with pytest.raises(BadCheckpoint, match="does not fit this network"):
        make(digits, "mlp", "sgd", state)


class _Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("unpickled",))


@pytest.mark.parametrize("data", [b"", b"nonsense", to_bytes({"epoch": 1})[:-20], to_bytes({"version": 0})])
def test_a_damaged_or_foreign_checkpoint_is_refused(data: bytes) -> None:
    with pytest.raises(BadCheckpoint):
        from_bytes(data, CPU)


def test_nothing_is_unpickled(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(BadCheckpoint):
        from_bytes(to_bytes({"x": _Evil()}), CPU)
    assert "unpickled" not in capsys.readouterr().out
