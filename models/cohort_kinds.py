"""The kinds of trainings that can be one cohort, and their division into groups without much padding."""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from caviar.models.mlp import MLP
from caviar.models.optim import SETTINGS
from caviar.models.stacked_module import StackedModule
from caviar.models.training import Training

_WIDEST = 1.5  # the largest ratio of weights with padding to the members' own
_TRIED = 8  # examples that a new kind is tried with
_IN_COMMON = ("batch_size", "optimizer")
_PADDED = ("hidden_units", "dropout")  # of the perceptron

_reasons: dict[Hashable, str | None] = {}  # by kind that was tried: why it trains alone, or None


def may_differ(model: Callable[..., nn.Module]) -> frozenset[str]:
    """Return the hyperparameters in which the members of a cohort of a model may differ."""
    return frozenset(SETTINGS) - {*_IN_COMMON} | ({*_PADDED} if model is MLP else set())


def kind(training: Training) -> Hashable:
    """Return a key that the members of a cohort share; that of a network which must train alone is unique."""
    model, settings = training.model, training.settings
    if type(model) is MLP:
        structure: Hashable = tuple(type(layer) for layer in model.network if not isinstance(layer, nn.Dropout))
    elif why_alone(training) is None:
        structure = _config(training)
    else:
        structure = id(training)
    return structure, settings.batch_size, settings.optimizer, id(training.data)


def groups(trainings: Iterable[Training]) -> list[list[Training]]:
    """Divide trainings into groups, each of which can be one cohort without much padding."""
    divided: list[list[Training]] = []
    for training in sorted(trainings, key=_weights):
        fitting = next((g for g in divided if kind(g[0]) == kind(training) and _pays(g, training)), None)
        if fitting is None:
            divided.append([training])
        else:
            fitting.append(training)
    return divided


def why_alone(training: Training) -> str | None:
    """Return why a network cannot be trained together with others of its kind; None if it can.

    A few examples are tried, once for each kind: a network of any class may do what cannot be stacked, such as drawing
    random numbers (dropout) or branching on its data.
    """
    if type(training.model) is MLP:
        return None
    config = _config(training)
    if config is None:
        return "it is not made from a class and its hyperparameters"
    if config not in _reasons:
        try:
            with _full_precision():
                _reasons[config] = _try(training)
        except torch.OutOfMemoryError:
            return "there is not enough memory to try it"  # at present, so it is not remembered
    return _reasons[config]


def _config(training: Training) -> Hashable:
    """Return the class and arguments that a network is made from; None if they do not determine its structure."""
    build = training.build
    if not isinstance(build, partial):
        return None
    data, arguments = training.data, (*build.args, *sorted(build.keywords.items()))
    return build.func, arguments, data.sample, data.outputs, data.training.x.device


@contextmanager
def _full_precision() -> Iterator[None]:
    """Compute convolutions in float32 inside the `with` block, not in TF32 as on GPUs: rounding is no difference."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def _try(training: Training) -> str | None:
    """Return what differs between a step of two such networks together and of each alone; None if nothing does."""
    part, device = training.data.training, training.data.training.x.device
    x, y = part.x[:_TRIED], part.y[:_TRIED]
    try:
        with torch.random.fork_rng(enabled=device.type == "cpu"):
            alone = [training.build(training.data.sample, training.data.outputs).to(device) for _ in range(2)]
        if not all(p.requires_grad for model in alone for p in model.parameters()):
            return "some of its parameters are not trained"
        stack, caught = StackedModule(copy.deepcopy(alone)), _Caught()
        with torch.no_grad():
            stack.step(torch.stack([x, x]), torch.stack([y, y]), caught, ())
            together = stack.logits(x)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, this network is for the ordinary loop
        return f"{type(error).__name__}: {error}".splitlines()[0]
    for number, model in enumerate(alone):
        model.train()
        cross_entropy(model(x), y).backward()  # type: ignore[no-untyped-call]
        gradients = [p.grad for p in model.parameters()]
        model.eval()
        with torch.no_grad():
            logits = model(x)
        pairs = zip([logits, *gradients], [together, *caught.gradients], strict=True)
        if any(one is None or not torch.allclose(one, of_all[number], rtol=1e-3, atol=1e-5) for one, of_all in pairs):
            return "together with others it gives other results"
    return None


class _Caught:
    """An update that records the gradients and moves no weights."""

    def __init__(self) -> None:
        self.gradients: list[Tensor] = []

    def begin(self, rates: Sequence[float]) -> None: ...

    def step(self) -> None: ...

    def follow(self, number: int, gradient: Tensor) -> None:  # noqa: ARG002
        self.gradients.append(gradient)

    def follow_outer(self, number: int, out: Tensor, into: Tensor) -> None: ...

    def settle(self) -> None: ...


def _weights(training: Training) -> int:
    return sum(p.numel() for p in training.model.parameters())


def _pays(group: Sequence[Training], widest: Training) -> bool:
    members = [*group, widest]
    return len(members) * _weights(widest) <= _WIDEST * sum(map(_weights, members))
