"""One step of gradient descent or Adam for K networks at once, each with settings of its own.

The formulas are those of `optim`, which torch.optim has for one network. The averages of each member are views in its
own optimizer's state too, so that it can go on alone, and be checkpointed, at the end of any epoch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from models.optim import Settings

Views = Callable[[Sequence[Tensor], int], list[Tensor]]  # of one member in stacked tensors, as its own parameters


class Update(Protocol):
    """How the weights of a stack follow their gradients."""

    def begin(self, rates: Sequence[float]) -> None:
        """Begin an epoch with the members' learning rates."""

    def step(self) -> None:
        """Begin a step."""

    def follow(self, number: int, gradient: Tensor) -> None:
        """Move a parameter, by its number in the stack, by its gradient (K, ...)."""

    def follow_outer(self, number: int, out: Tensor, into: Tensor) -> None:
        """Move the weights (K, n, m) of a layer by the gradients `out` (K, B, n) of its outputs and its inputs
        (K, B, m)."""

    def settle(self) -> None:
        """End an epoch: what the members' own optimizers hold is as if they had trained alone."""


def make_update(
    settings: Sequence[Settings],
    optimizers: Sequence[torch.optim.Optimizer],
    parameters: Sequence[Tensor],
    views: Views,
) -> Update:
    """Return the update of a stack, going on from where the members' own optimizers are.

    Args:
        settings: of the members, which have one optimizer in common.
        optimizers: the members' own; from now on their averages are places in the stack.
        parameters: of the stack, (K, ...) each.
    """
    kind = StackedAdam if settings[0].optimizer == "adam" else StackedSGD
    return kind(settings, optimizers, parameters, views)


class StackedSGD:
    """Gradient descent with momentum: v = β v + (1-β) g, then w = w - α v.

    What is stored is u = v / s with s = β^t: a step then adds to u and scales nothing, and u is multiplied out before
    s gets small, which saves one pass over all weights in each step. As in torch.optim.SGD, v is g after the first.
    """

    def __init__(
        self,
        settings: Sequence[Settings],
        optimizers: Sequence[torch.optim.Optimizer],
        parameters: Sequence[Tensor],
        views: Views,
    ) -> None:
        self._parameters = parameters
        self._optimizers, self._views = optimizers, views
        self._averages = [torch.zeros_like(p) for p in parameters]
        self._beta = _vector([s.momentum for s in settings], parameters[0])
        self._decay = _vector([s.weight_decay for s in settings], parameters[0])
        self._decays = any(s.weight_decay for s in settings)
        smallest = min(s.momentum for s in settings)
        # 1e-4 leaves float32 the digits it needs; a β that is small is multiplied out at every step.
        self._period = max(1, int(math.log(1e-4) / math.log(smallest))) if smallest > 0 else 1
        self._fresh = _adopt(optimizers, {"momentum_buffer": self._averages}, views)
        self._scale = torch.ones_like(self._beta)
        self._rate = self._gain = self._move = self._scale
        self._steps = 0

    def begin(self, rates: Sequence[float]) -> None:
        self._rate = _vector(rates, self._parameters[0])

    def step(self) -> None:
        self._steps += 1
        if self._steps % self._period:
            self._scale = self._scale * self._beta
        else:
            self._multiply_out(self._scale * self._beta)
        first = torch.where(self._fresh, 1.0, 1 - self._beta)
        self._fresh = torch.zeros_like(self._fresh)
        self._gain = first / self._scale
        self._move = -self._rate * self._scale

    def follow(self, number: int, gradient: Tensor) -> None:
        weights, average = self._parameters[number], self._averages[number]
        if self._decays:
            gradient = gradient + _like(self._decay, weights) * weights
        average.addcmul_(gradient, _like(self._gain, weights))
        weights.addcmul_(average, _like(self._move, weights))

    def follow_outer(self, number: int, out: Tensor, into: Tensor) -> None:
        weights, average = self._parameters[number], self._averages[number]
        average.baddbmm_((out * _like(self._gain, out)).mT, into)
        if self._decays:
            average.addcmul_(weights, _like(self._gain * self._decay, weights))
        weights.addcmul_(average, _like(self._move, weights))

    def settle(self) -> None:
        self._multiply_out(self._scale)
        _hand_back(self._optimizers, {"momentum_buffer": self._averages}, self._views)

    def _multiply_out(self, factor: Tensor) -> None:
        for average in self._averages:
            average.mul_(_like(factor, average))
        self._scale = torch.ones_like(self._scale)


class StackedAdam:
    """Adam, with the corrections of each member's own number of steps.

    Source: D. P. Kingma, J. Ba, Adam: A Method for Stochastic Optimization, https://arxiv.org/abs/1412.6980.
    """

    def __init__(
        self,
        settings: Sequence[Settings],
        optimizers: Sequence[torch.optim.Optimizer],
        parameters: Sequence[Tensor],
        views: Views,
    ) -> None:
        self._parameters = parameters
        self._optimizers, self._views = optimizers, views
        self._first = [torch.zeros_like(p) for p in parameters]
        self._second = [torch.zeros_like(p) for p in parameters]
        like = parameters[0]
        self._betas = [[s.beta1 for s in settings], [s.beta2 for s in settings]]
        # 1 - β in double precision first: float32 has no digits left for it where β is nearly 1.
        self._new1, self._new2 = (_vector([1 - beta for beta in betas], like) for betas in self._betas)
        self._beta2 = _vector(self._betas[1], like)
        tiny = torch.finfo(like.dtype).tiny  # so that 0 / 0, which padding has, is 0
        self._epsilon = _vector([max(s.epsilon, tiny) for s in settings], like)
        self._decay = _vector([s.weight_decay for s in settings], like)
        self._decays = any(s.weight_decay for s in settings)
        _adopt(optimizers, {"exp_avg": self._first, "exp_avg_sq": self._second}, views)
        self._steps = [_steps(optimizer) for optimizer in optimizers]
        self._rates: Sequence[float] = ()
        self._move = self._root = self._epsilon

    def begin(self, rates: Sequence[float]) -> None:
        self._rates = rates

    def step(self) -> None:
        self._steps = [steps + 1 for steps in self._steps]
        first, second = ([1 - b**t for b, t in zip(betas, self._steps, strict=True)] for betas in self._betas)
        like = self._parameters[0]
        self._move = _vector([-rate / part for rate, part in zip(self._rates, first, strict=True)], like)
        self._root = _vector([part**-0.5 for part in second], like)

    def follow(self, number: int, gradient: Tensor) -> None:
        weights, first, second = self._parameters[number], self._first[number], self._second[number]
        if self._decays:
            gradient = gradient + _like(self._decay, weights) * weights
        first.lerp_(gradient, _like(self._new1, weights))
        second.mul_(_like(self._beta2, weights)).addcmul_(gradient * _like(self._new2, weights), gradient)
        root = second.sqrt().mul_(_like(self._root, weights)).add_(_like(self._epsilon, weights))
        weights.addcdiv_(first * _like(self._move, weights), root)

    def follow_outer(self, number: int, out: Tensor, into: Tensor) -> None:
        self.follow(number, torch.bmm(out.mT, into))

    def settle(self) -> None:
        _hand_back(self._optimizers, {"exp_avg": self._first, "exp_avg_sq": self._second}, self._views)
        for optimizer, steps in zip(self._optimizers, self._steps, strict=True):
            for state in optimizer.state.values():
                state["step"] = torch.tensor(float(steps), device=self._first[0].device)


def _steps(optimizer: torch.optim.Optimizer) -> int:
    return int(next((state["step"] for state in optimizer.state.values()), 0))


def _adopt(optimizers: Sequence[torch.optim.Optimizer], averages: dict[str, list[Tensor]], views: Views) -> Tensor:
    """Copy the members' averages into the stack; return of each member whether it has none yet, which are zeros."""
    for member, optimizer in enumerate(optimizers):
        parameters = optimizer.param_groups[0]["params"]
        for name, stacked in averages.items():
            for parameter, place in zip(parameters, views(stacked, member), strict=True):
                known = optimizer.state.get(parameter, {}).get(name)
                if known is not None:
                    place.copy_(known)
    return torch.tensor([not o.state for o in optimizers], device=next(iter(averages.values()))[0].device)


def _hand_back(optimizers: Sequence[torch.optim.Optimizer], averages: dict[str, list[Tensor]], views: Views) -> None:
    """Let the members' optimizers have their averages, as places in the stack."""
    for member, optimizer in enumerate(optimizers):
        parameters = optimizer.param_groups[0]["params"]
        for name, stacked in averages.items():
            for parameter, place in zip(parameters, views(stacked, member), strict=True):
                optimizer.state[parameter][name] = place


def _vector(values: Sequence[float], like: Tensor) -> Tensor:
    return torch.tensor(values, dtype=like.dtype, device=like.device)


def _like(vector: Tensor, of: Tensor) -> Tensor:
    """Return a value of each member, shaped to broadcast over (K, ...)."""
    return vector.view(-1, *[1] * (of.ndim - 1))
