"""The kinds of trainings that can be one cohort, and their division into groups without much padding."""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from caviar.models.measures import classification_loss
from caviar.models.mlp import MLP
from caviar.models.optim import SETTINGS
from caviar.models.stacked_mlp import stacked_loss
from caviar.models.stacked_module import StackedModule
from caviar.models.training import Training

_WIDEST = 1.5  # the largest ratio of weights with padding to the members' own
_TRIED = 8  # examples that a new kind is tried with
_IN_COMMON = ("batch_size", "optimizer")
_OTHER = "together with others it gives other results"
_PADDED = ("hidden_units", "dropout")  # of the perceptron

_reasons: dict[Hashable, str | None] = {}  # by kind that was tried: why it trains alone, or None


def may_differ(model: Callable[..., nn.Module]) -> frozenset[str]:
    """Return the hyperparameters in which the members of a cohort of a model may differ."""
    return frozenset(SETTINGS) - {*_IN_COMMON} | ({*_PADDED} if model is MLP else set())


def kind(training: Training) -> Hashable:
    """Return a key that the members of a cohort share; that of a network which must train alone is unique."""
    model, settings = training.model, training.settings
    if why_alone(training) is not None:
        structure: Hashable = id(training)
    elif type(model) is MLP:
        structure = tuple(type(layer) for layer in model.network if not isinstance(layer, nn.Dropout))
    else:
        structure = _config(training)
    return structure, settings.batch_size, settings.optimizer, id(training.data), training.measures.loss


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
    random numbers (dropout) or branching on its data. So may a loss of the user's.
    """
    is_mlp, loss = type(training.model) is MLP, training.measures.loss
    if is_mlp and loss is classification_loss:
        return None
    data = training.data
    config = (loss, data.outputs, data.training.y.device) if is_mlp else _config(training)
    if config is None:
        return "it is not made from a class and its hyperparameters"
    if config not in _reasons:
        try:
            with _full_precision():
                _reasons[config] = _try_loss(training) if is_mlp else _try(training)
        except torch.OutOfMemoryError:
            return "there is not enough memory to try it"  # at present, so it is not remembered
    return _reasons[config]


def _config(training: Training) -> Hashable:
    """Return the class and arguments that a network is made from; None if they do not determine its structure."""
    build = training.build
    if not isinstance(build, partial):
        return None
    data, arguments = training.data, (*build.args, *sorted(build.keywords.items()))
    return build.func, arguments, data.sample, data.outputs, data.training.x.device, training.measures.loss


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
        stack, caught = StackedModule(copy.deepcopy(alone), training.measures.loss), _Caught()
        with torch.no_grad():
            stack.step(torch.stack([x, x]), torch.stack([y, y]), caught, ())
            together = stack.outputs(x)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, this network is for the ordinary loop
        return f"{type(error).__name__}: {error}".splitlines()[0]
    for number, model in enumerate(alone):
        model.train()
        training.measures.loss(model(x), y).backward()  # type: ignore[no-untyped-call]
        gradients = [p.grad for p in model.parameters()]
        model.eval()
        with torch.no_grad():
            outputs = model(x)
        pairs = zip([outputs, *gradients], [together, *caught.gradients], strict=True)
        if any(one is None or not _same(one, of_all[number]) for one, of_all in pairs):
            return _OTHER
    return None


def _try_loss(training: Training) -> str | None:
    """Return what differs between a loss and its gradient of two members together and of each alone."""
    y, count = training.data.training.y[:_TRIED], training.data.outputs
    loss, generator = training.measures.loss, torch.Generator().manual_seed(0)
    outputs = torch.randn(2, len(y), count, generator=generator).to(y.device)
    try:
        with torch.no_grad():
            gradients, losses = stacked_loss(loss)(outputs, torch.stack([y, y]))
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, this loss is for the ordinary loop
        return f"its loss: {type(error).__name__}: {error}".splitlines()[0]
    for number in range(2):
        own = outputs[number].clone().requires_grad_()
        value = loss(own, y)
        value.backward()  # type: ignore[no-untyped-call]
        pairs = ((own.grad, gradients[number]), (value.detach(), losses[number]))
        if any(one is None or not _same(one, other) for one, other in pairs):
            return f"its loss: {_OTHER}"
    return None


def _same(alone: Tensor, together: Tensor) -> bool:
    return alone.shape == together.shape and torch.allclose(alone, together, rtol=1e-3, atol=1e-5)


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
