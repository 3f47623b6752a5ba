"""Losses and metrics of the user's own, and regression: alone and in a cohort."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, l1_loss, one_hot

from caviar.calls import Call
from caviar.epoch import ACCURACY, LEARNING_RATE, TRAINING_LOSS, VALIDATION_LOSS, Epoch
from caviar.models.cohort import Cohort
from caviar.models.cohort_kinds import groups, why_alone
from caviar.models.data import Data, Part
from caviar.models.errors import BadMeasure, UnknownFunction
from caviar.models.measures import Loss, Measures, classification_loss, default_loss, regression_loss
from caviar.models.metric_calls import parse_metric
from caviar.models.mlp import MLP
from caviar.models.optim import Settings
from caviar.models.own_measures import own_measures
from caviar.models.training import Training, evaluate

TRAINING, VALIDATION = 600, 1500  # more than a cohort evaluates in a batch


def examples(count: int, seed: int) -> tuple[Tensor, Tensor]:
    x = torch.randn(count, 5, generator=torch.Generator().manual_seed(seed))
    return x, x.sin().sum(1)


def numbers() -> Data:
    """A regression of two numbers an example."""
    (x, y), (a, b) = examples(TRAINING, 0), examples(VALIDATION, 1)
    return Data(Part(x, torch.stack([y, -y], 1)), Part(a, torch.stack([b, -b], 1)), 2)


def classes() -> Data:
    (x, y), (a, b) = examples(TRAINING, 0), examples(VALIDATION, 1)
    return Data(Part(x, (y > 0).long() + (y > 1)), Part(a, (b > 0).long() + (b > 1)), 3)


class Net(nn.Module):
    def __init__(self, sample: tuple[int, ...], outputs: int, *, units: int = 8) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(sample[0], units), nn.Tanh(), nn.Linear(units, outputs))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)  # type: ignore[no-any-return]


def make(data: Data, number: int = 0, model: Any = MLP, measures: Measures | None = None, **fields: Any) -> Training:
    of_model = {n: fields.pop(n) for n in list(fields) if n not in Settings.__dataclass_fields__}
    settings = Settings(**{"batch_size": 100, "learning_rate": 0.05, **fields})
    return Training(partial(model, **of_model), settings, data, 100 + number, measures=measures)


def weighted(outputs: Tensor, y: Tensor) -> Tensor:
    return cross_entropy(outputs, y, weight=torch.tensor([1.0, 2.0, 5.0]), label_smoothing=0.1)


def brier(outputs: Tensor, y: Tensor) -> Tensor:
    return (outputs.softmax(-1) - (y.unsqueeze(-1) == torch.arange(3)).float()).square().sum(-1).mean()


def one_hot_brier(outputs: Tensor, y: Tensor) -> Tensor:
    """The same by a function that looks at the values of its argument, which vmap cannot."""
    return (outputs.softmax(-1) - one_hot(y, 3)).square().sum(-1).mean()


def root(outputs: Tensor, y: Tensor) -> Tensor:
    """No mean over examples: of other batches it is another number."""
    return (outputs - y).square().mean().sqrt()


def branching(outputs: Tensor, y: Tensor) -> Tensor:
    error = (outputs - y).abs().mean()
    return error if float(error.detach()) > 0.1 else error.square()


def noisy(outputs: Tensor, y: Tensor) -> Tensor:
    return regression_loss(outputs + 0.1 * torch.randn_like(outputs), y)


def median(outputs: Tensor, y: Tensor) -> Tensor:
    return (outputs - y).abs().median()


def test_a_regression_is_trained_by_its_squared_error() -> None:
    training = make(
        numbers(), measures=Measures(regression_loss, {"rmse": lambda o, y: (o - y).square().mean().sqrt()})
    )
    curve = list(training.epochs(5))
    assert set(curve[-1].metrics) == {TRAINING_LOSS, VALIDATION_LOSS, "rmse", LEARNING_RATE}
    assert curve[-1].metrics[VALIDATION_LOSS] < 0.5 * curve[0].metrics[VALIDATION_LOSS]
    assert curve[-1].metrics["rmse"] == pytest.approx(math.sqrt(curve[-1].metrics[VALIDATION_LOSS]))


def test_the_usual_loss_is_that_of_the_targets() -> None:
    assert default_loss(numbers().training.y) is regression_loss
    assert default_loss(classes().training.y) is classification_loss
    with pytest.raises(BadMeasure, match=r"the network returns \(4,\) where the targets are \(4, 1\)"):
        regression_loss(torch.zeros(4), torch.zeros(4, 1))


@pytest.mark.parametrize("loss", [weighted, brier])
def test_the_loss_that_is_given_is_the_one_that_is_trained_and_measured(loss: Loss) -> None:
    training = make(classes(), measures=Measures(loss))
    usual = make(classes())
    epoch, other = next(training.epochs(1)), next(usual.epochs(1))
    assert set(epoch.metrics) == {TRAINING_LOSS, VALIDATION_LOSS, ACCURACY, LEARNING_RATE}
    part = training.data.validation
    with torch.no_grad():
        assert epoch.metrics[VALIDATION_LOSS] == pytest.approx(float(loss(training.model(part.x), part.y)))
    pairs = zip(training.model.parameters(), usual.model.parameters(), strict=True)
    assert not any(torch.equal(one, two) for one, two in pairs)
    assert epoch.metrics[TRAINING_LOSS] != other.metrics[TRAINING_LOSS]


def assert_same(curve: Sequence[Epoch], other: Sequence[Epoch]) -> None:
    for one, two in zip(curve, other, strict=True):
        assert one.metrics == pytest.approx(dict(two.metrics), abs=3e-3)
        assert list(one.metrics) == list(two.metrics)


CASES: dict[str, tuple[Callable[[], Data], Loss]] = {
    "squared": (numbers, regression_loss),
    "absolute": (numbers, l1_loss),
    "root": (numbers, root),
    "weighted": (classes, weighted),
    "brier": (classes, brier),
    "usual": (classes, classification_loss),
    "torch's": (classes, cross_entropy),
}


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize(
    ("model", "of_model"),
    [(MLP, [{"hidden_units": n, "dropout": d} for n, d in ((8, 0.0), (12, 0.3), (10, 0.1))]), (Net, [{}] * 3)],
    ids=["mlp", "net"],
)
@pytest.mark.parametrize("case", CASES)
def test_a_member_of_a_cohort_has_the_curve_that_it_has_alone(
    case: str, model: Any, of_model: Any, optimizer: str
) -> None:
    data, loss = CASES[case][0](), CASES[case][1]
    metric = median if data.classes is None else lambda o, y: o[:, 0].median()
    measures = Measures(loss, {"median": metric})
    rates = (0.05, 0.02, 0.1) if optimizer == "sgd" else (0.01, 0.005, 0.02)

    def members() -> list[Training]:
        common = {"model": model, "measures": measures, "optimizer": optimizer}
        return [make(data, n, learning_rate=r, **common, **of_model[n]) for n, r in enumerate(rates)]

    assert why_alone(members()[0]) is None
    assert len(groups(members())) == 1
    cohort = Cohort(members())
    curves = list(zip(*(cohort.epoch() for _ in range(4)), strict=True))
    for curve, alone in zip(curves, members(), strict=True):
        assert_same(curve, list(alone.epochs(4)))


@pytest.mark.parametrize("model", [MLP, Net])
@pytest.mark.parametrize(("load", "loss"), [(numbers, branching), (numbers, noisy), (classes, one_hot_brier)])
def test_a_loss_that_cannot_be_stacked_trains_alone(load: Callable[[], Data], loss: Loss, model: Any) -> None:
    data = load()
    members = [make(data, n, model=model, measures=Measures(loss)) for n in range(2)]
    assert why_alone(members[0]) is not None
    assert [len(group) for group in groups(members)] == [1, 1]
    assert list(members[0].epochs(1))


@pytest.mark.parametrize("model", [MLP, Net])
def test_trainings_with_other_losses_are_of_other_kinds(model: Any) -> None:
    data = numbers()
    members = [make(data, n, model=model, measures=Measures(loss)) for n, loss in enumerate((l1_loss, root, l1_loss))]
    assert sorted(len(group) for group in groups(members)) == [1, 2]


def test_an_evaluation_is_one_whatever_the_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    training = make(numbers(), measures=Measures(root, {"median": median}))
    whole = evaluate(training.model, training.data.validation, training.measures)
    monkeypatch.setattr("caviar.models.training._EVALUATION_BATCH", 7)
    assert evaluate(training.model, training.data.validation, training.measures) == pytest.approx(whole)


def test_binary_scores_have_no_accuracy() -> None:
    outputs, y = torch.tensor([[0.3], [-2.0]]), torch.tensor([1, 0])
    logistic = nn.functional.binary_cross_entropy_with_logits
    assert set(Measures(lambda o, t: logistic(o[:, 0], t.float())).of(outputs, y)) == {"loss"}


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        (lambda o, y: o, r"the metric 'm' is tensor\(.*; return one number"),
        (lambda o, y: "good", "the metric 'm' is 'good'; return one number"),
        (lambda o, y: 1 / 0, "the metric 'm' cannot be measured: ZeroDivisionError: division by zero"),
        (lambda o, y: exit(3), "the metric 'm' cannot be measured: .*sys.exit"),
        (lambda o: 0.0, "the metric 'm' cannot be measured: TypeError"),
    ],
)
def test_a_metric_that_is_no_number_is_one_line(metric: Any, message: str) -> None:
    with pytest.raises(BadMeasure, match=message):
        Measures(regression_loss, {"m": metric}).of(torch.zeros(3, 2), torch.zeros(3, 2))


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("my_data:rmse", "my_data:rmse"),
        ("shop.metrics:top", "shop.metrics:top"),
        ("r2_score", Call("r2_score", {})),
        ("fbeta_score(beta=0.5, average='macro',)", Call("fbeta_score", {"beta": 0.5, "average": "macro"})),
    ],
)
def test_a_metric_is_a_path_or_a_call(text: str, parsed: Any) -> None:
    assert parse_metric(text) == parsed


@pytest.mark.parametrize(
    "text",
    ["", "1", "f1(", "f1(0.5)", "f1(**{})", "f1(a=b)", "f1(a=open('x'))", "a.b(c=1)", "a:b:c", ":b", "a:", "(" * 300],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(BadMeasure, match="is no metric; give the path of a function, "):
        parse_metric(text)


def test_functions_of_torchmetrics_are_told_of_the_classes() -> None:
    pytest.importorskip("torchmetrics")
    data = classes()
    names = {"f1": "f1_score(average='macro')", "top": "tests.models.test_measures:top"}
    measured = own_measures(None, names, data).of(one_hot(data.validation.y, 3).float(), data.validation.y)
    assert measured["f1"] == measured["top"] == measured[ACCURACY] == 1.0
    of_numbers = own_measures(None, {"rmse": "mean_squared_error(squared=False)", "r2": "r2_score"}, numbers())
    x = numbers().validation.y
    assert of_numbers.of(x + 0.5, x)["rmse"] == pytest.approx(0.5)
    with pytest.raises(BadMeasure, match="has no 'f2_score'; did you mean r2_score or f1_score"):
        own_measures(None, {"f": "f2_score"}, data)
    with pytest.raises(BadMeasure, match="has no argument 'avg'; it has preds, target, task"):
        own_measures(None, {"f": "f1_score(avg='macro')"}, data)
    with pytest.raises(UnknownFunction, match="no function at 'tests"):
        own_measures("tests.models.test_measures:nothing", {}, data)


def top(outputs: Tensor, y: Tensor) -> Tensor:
    return (outputs.argmax(1) == y).float().mean()
