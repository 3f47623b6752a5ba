"""Gradient descent and Adam for K networks at once, each with settings of its own.

The formulas are those of `optim`, which torch.optim has for one network. The averages of each member are views in the
state of its own optimizer, too, so that it can continue alone, and be saved, at the end of any epoch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from caviar.models.optim import Settings


class Update(Protocol):
    """Moves the weights of a stack by their gradients."""

    def begin(self, rates: Sequence[float]) -> None:
        """Begin an epoch with these learning rates, one a member."""

    def step(self) -> None:
        """Begin a step."""

    def follow(self, number: int, gradient: Tensor) -> None:
        """Move a parameter, by its number in the stack, by its gradient (K, ...)."""

    def follow_outer(self, number: int, out: Tensor, into: Tensor) -> None:
        """Move the weights (K, n, m) of a layer, given the gradients `out` (K, B, n) of its outputs, and its inputs
        `into` (K, B, m)."""

    def settle(self) -> None:
        """End an epoch: bring the state of the members' own optimizers to what it would be alone."""


@dataclass(frozen=True)
class Members:
    """The members of a stack, as far as an update needs them."""

    settings: Sequence[Settings]  # all with the same optimizer
    optimizers: Sequence[torch.optim.Optimizer]
    parameters: Sequence[Tensor]  # stacked, (K, ...) each
    views: Callable[[Sequence[Tensor], int], list[Tensor]]  # of stacked tensors for one member, shaped as its own

    def update(self) -> Update:
        """Return the update of the stack, which continues from the state of the members' own optimizers."""
        return StackedAdam(self) if self.settings[0].optimizer == "adam" else StackedSGD(self)

    def vector(self, values: Iterable[float]) -> Tensor:
        """Return one value a member as a tensor (K,)."""
        like = self.parameters[0]
        return torch.tensor(list(values), dtype=like.dtype, device=like.device)

    def averages(self, name: str) -> list[Tensor]:
        """Return the averages of that name in the members' optimizers, stacked; zeros for those that have none yet."""
        stacked = [torch.zeros_like(parameter) for parameter in self.parameters]
        for optimizer, parameter, place in self._places(stacked):
            known = optimizer.state.get(parameter, {}).get(name)
            if known is not None:
                place.copy_(known)
        return stacked

    def hand_back(self, name: str, stacked: Sequence[Tensor]) -> None:
        """Set the averages of that name in the members' optimizers to their views of the stack."""
        for optimizer, parameter, place in self._places(stacked):
            optimizer.state[parameter][name] = place

    def _places(self, stacked: Sequence[Tensor]) -> Iterator[tuple[torch.optim.Optimizer, Tensor, Tensor]]:
        for member, optimizer in enumerate(self.optimizers):
            own = optimizer.param_groups[0]["params"]
            for parameter, place in zip(own, self.views(stacked, member), strict=True):
                yield optimizer, parameter, place


class StackedSGD:
    """Gradient descent with momentum: v = β v + (1-β) g, then w = w - α v.

    The stored average is u = v / s with s = β^t: a step adds to u and scales nothing, which saves one pass over all
    weights; u is multiplied out before s gets small. As in torch.optim.SGD, v is g after the first step.
    """

    def __init__(self, members: Members) -> None:
        settings = members.settings
        self._members = members
        self._parameters = members.parameters
        self._averages = members.averages("momentum_buffer")
        self._fresh = torch.tensor([not o.state for o in members.optimizers], device=self._parameters[0].device)
        self._beta = members.vector(s.momentum for s in settings)
        self._decay = members.vector(s.weight_decay for s in settings)
        self._decays = any(s.weight_decay for s in settings)
        smallest = min(s.momentum for s in settings)
        # 1e-4 leaves float32 the digits that it needs; with a small β, u is multiplied out in every step.
        self._period = max(1, int(math.log(1e-4) / math.log(smallest))) if smallest > 0 else 1
        self._scale = torch.ones_like(self._beta)
        self._rate = self._gain = self._move = self._scale
        self._steps = 0

    def begin(self, rates: Sequence[float]) -> None:
        self._rate = self._members.vector(rates)

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
        self._members.hand_back("momentum_buffer", self._averages)

    def _multiply_out(self, factor: Tensor) -> None:
        for average in self._averages:
            average.mul_(_like(factor, average))
        self._scale = torch.ones_like(self._scale)


class StackedAdam:
    """Adam, with the bias corrections of each member's own number of steps.

    Source: D. P. Kingma, J. Ba, Adam: A Method for Stochastic Optimization, https://arxiv.org/abs/1412.6980.
    """

    def __init__(self, members: Members) -> None:
        settings = members.settings
        self._members = members
        self._parameters = members.parameters
        self._first, self._second = members.averages("exp_avg"), members.averages("exp_avg_sq")
        self._betas = [[s.beta1 for s in settings], [s.beta2 for s in settings]]
        # 1 - β in double precision first: float32 has no digits left for it where β is nearly 1.
        self._new1, self._new2 = (members.vector(1 - beta for beta in betas) for betas in self._betas)
        self._beta2 = members.vector(self._betas[1])
        tiny = torch.finfo(self._parameters[0].dtype).tiny  # so that 0 / 0, which padding has, is 0
        self._epsilon = members.vector(max(s.epsilon, tiny) for s in settings)
        self._decay = members.vector(s.weight_decay for s in settings)
        self._decays = any(s.weight_decay for s in settings)
        self._steps = [_steps(optimizer) for optimizer in members.optimizers]
        self._rates: Sequence[float] = ()
        self._move = self._root = self._epsilon

    def begin(self, rates: Sequence[float]) -> None:
        self._rates = rates

    def step(self) -> None:
        self._steps = [steps + 1 for steps in self._steps]
        first, second = ([1 - b**t for b, t in zip(betas, self._steps, strict=True)] for betas in self._betas)
        self._move = self._members.vector(-rate / part for rate, part in zip(self._rates, first, strict=True))
        self._root = self._members.vector(part**-0.5 for part in second)

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
        self._members.hand_back("exp_avg", self._first)
        self._members.hand_back("exp_avg_sq", self._second)
        for optimizer, steps in zip(self._members.optimizers, self._steps, strict=True):
            for state in optimizer.state.values():
                state["step"] = torch.tensor(float(steps), device=self._first[0].device)


def _steps(optimizer: torch.optim.Optimizer) -> int:
    return int(next((state["step"] for state in optimizer.state.values()), 0))


def _like(vector: Tensor, of: Tensor) -> Tensor:
    """Return one value a member, shaped to broadcast over `of` (K, ...)."""
    return vector.view(-1, *[1] * (of.ndim - 1))
