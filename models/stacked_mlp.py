"""A stack of multi-layer perceptrons, trained as one: forward and backward pass as batched matrix products.

The graph of autograd and the calls of the optimizer cost a small network more than its arithmetic; here a step is a
dozen calls for all members together. Narrower networks are padded with zeros up to the widest: a unit with no weights
in and none out stays so under gradient descent and Adam, whatever the activation, since each of them maps 0 to 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.func import grad_and_value, vmap
from torch.nn.functional import gelu, log_softmax

from caviar.models.measures import Loss, classification_loss
from caviar.models.mlp import MLP
from caviar.models.stacked_optim import Update

_aten = torch.ops.aten
StackedLoss = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
# By activation: its function; and the gradient of its input, from that of its output, its output and its input.
_ACTIVATIONS: dict[type[nn.Module], tuple[Callable[[Tensor], Tensor], Callable[[Tensor, Tensor, Tensor], Tensor]]] = {
    nn.ReLU: (torch.relu, lambda gradient, value, _: _aten.threshold_backward(gradient, value, 0)),
    nn.Tanh: (torch.tanh, lambda gradient, value, _: _aten.tanh_backward(gradient, value)),
    nn.GELU: (gelu, lambda gradient, _, given: _aten.gelu_backward(gradient, given)),
}


class StackedMLP:
    """K perceptrons of the same depth and activation, whose parameters become views of this object's tensors: weights
    (K, out, in) and biases (K, 1, out) of each layer, from the input to the outputs."""

    def __init__(self, members: Sequence[MLP], loss: Loss = classification_loss) -> None:
        self._loss = stacked_loss(loss)
        self._sizes = [[tuple(p.shape) for p in model.parameters()] for model in members]
        activation = next(type(m) for m in members[0].network if type(m) in _ACTIVATIONS)
        self._value, self._gradient = _ACTIVATIONS[activation]
        self._dropout = [next((m.p for m in model.network if isinstance(m, nn.Dropout)), 0.0) for model in members]
        self.parameters: list[Tensor] = []
        for of_all in zip(*(model.parameters() for model in members), strict=True):
            sizes = (p.shape if p.ndim > 1 else (1, *p.shape) for p in of_all)
            shape = map(max, zip(*sizes, strict=True))
            self.parameters.append(of_all[0].new_zeros(len(members), *shape).detach())
        for number, model in enumerate(members):
            for parameter, place in zip(model.parameters(), self.views(self.parameters, number), strict=True):
                place.copy_(parameter.data)
                parameter.data = place

    def views(self, stacked: Sequence[Tensor], member: int) -> list[Tensor]:
        """Return a member's views of tensors that are stacked as the parameters are, in the shapes of its own."""
        sizes = zip(stacked, self._sizes[member], strict=True)
        return [t[member, : s[0], : s[1]] if len(s) > 1 else t[member, 0, : s[0]] for t, s in sizes]

    def step(self, x: Tensor, y: Tensor, update: Update, generators: Sequence[torch.Generator]) -> Tensor:
        """Make a step on a mini-batch of each member, x (K, B, ...) and y (K, B), and return their mean losses (K,);
        `generators` are those of the members' dropout."""
        layers = len(self.parameters) // 2
        inputs, given, values = [x.flatten(2)], list[Tensor](), list[Tensor]()  # of each layer
        masks = list[Tensor | None]()
        for layer in range(layers):
            out = torch.baddbmm(self.parameters[2 * layer + 1], inputs[layer], self.parameters[2 * layer].mT)
            if layer < layers - 1:
                given.append(out)
                values.append(self._value(out))
                masks.append(self._mask(values[layer], generators))
                inputs.append(_masked(values[layer], masks[layer]))
        gradient, losses = self._loss(out, y)
        update.step()
        for layer in reversed(range(layers)):
            behind = torch.bmm(gradient, self.parameters[2 * layer]) if layer else gradient  # before the weights move
            update.follow(2 * layer + 1, gradient.sum(1, keepdim=True))
            update.follow_outer(2 * layer, gradient, inputs[layer])
            if layer:
                mask = masks[layer - 1]
                gradient = self._gradient(_masked(behind, mask), values[layer - 1], given[layer - 1])
        return losses

    def outputs(self, x: Tensor) -> Tensor:
        """Return the members' outputs (K, n, outputs) for the same examples x (n, ...), without dropout."""
        members, width = self.parameters[0].shape[:2]
        # One product for all members: to their first layer, they are one wide layer.
        out = x.flatten(1) @ self.parameters[0].flatten(0, 1).T
        out = out.view(-1, members, width).transpose(0, 1) + self.parameters[1]
        for layer in range(1, len(self.parameters) // 2):
            out = torch.baddbmm(self.parameters[2 * layer + 1], self._value(out), self.parameters[2 * layer].mT)
        return out

    def _mask(self, values: Tensor, generators: Sequence[torch.Generator]) -> Tensor | None:
        """Return the factors of dropout for values (K, B, width), drawn as by `mlp.Dropout`; None without dropout."""
        if not any(self._dropout):
            return None
        mask = torch.ones_like(values)
        for member, (share, generator) in enumerate(zip(self._dropout, generators, strict=True)):
            if share:
                width = self._sizes[member][0][0]
                own = values.new_empty(values.shape[1], width).bernoulli_(1 - share, generator=generator)
                mask[member, :, :width] = own.div_(1 - share) if share < 1 else 0
        return mask


def stacked_loss(loss: Loss) -> StackedLoss:
    """Return a function that gives the gradient of the members' losses in their outputs, and their losses (K,)."""
    return _cross_entropy if loss is classification_loss else vmap(grad_and_value(loss))


def _cross_entropy(outputs: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    logs = log_softmax(outputs, -1)
    right = y.unsqueeze(-1)
    losses = -logs.gather(-1, right).mean((1, 2))
    return logs.exp_().scatter_add_(-1, right, logs.new_full(right.shape, -1.0)).div_(outputs.shape[1]), losses


def _masked(values: Tensor, mask: Tensor | None) -> Tensor:
    return values if mask is None else values * mask
