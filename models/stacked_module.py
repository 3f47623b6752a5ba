"""A stack of networks of any kind, trained as one by `torch.func`: what `vmap` can run for one, it runs for all.

Source: https://docs.pytorch.org/tutorials/intermediate/ensembling.html
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap

from caviar.models.measures import Loss, classification_loss
from caviar.models.stacked_optim import Update


class StackedModule:
    """K networks of the same structure, whose parameters and buffers become views of this object's: (K, ...) each."""

    def __init__(self, members: Sequence[nn.Module], loss: Loss = classification_loss) -> None:
        self._of_outputs = loss
        self._network = members[0]  # its structure; the parameters and buffers are handed to it
        self._names = [name for name, _ in self._network.named_parameters()]
        self._buffer_names = [name for name, _ in self._network.named_buffers()]
        self.parameters = _stacked(model.parameters() for model in members)
        self._buffers = _stacked(model.buffers() for model in members)
        self._gradients: Callable[..., tuple[list[Tensor], Tensor]] = vmap(grad_and_value(self._loss))
        self._outputs: Callable[..., Tensor] = vmap(self._forward, in_dims=(0, 0, None))

    def views(self, stacked: Sequence[Tensor], member: int) -> list[Tensor]:
        """Return a member's views of tensors that are stacked as the parameters are."""
        return [tensor[member] for tensor in stacked]

    def step(self, x: Tensor, y: Tensor, update: Update, generators: Sequence[torch.Generator]) -> Tensor:  # noqa: ARG002
        """Make a step on a mini-batch of each member, and return their mean losses (K,); as `StackedMLP.step`."""
        self._network.train()
        gradients, losses = self._gradients(self.parameters, self._buffers, x, y)
        update.step()
        for number, gradient in enumerate(gradients):
            update.follow(number, gradient)
        return losses

    def outputs(self, x: Tensor) -> Tensor:
        """Return the members' outputs (K, n, ...) for the same examples x (n, ...)."""
        self._network.eval()
        return self._outputs(self.parameters, self._buffers, x)

    def _forward(self, parameters: Sequence[Tensor], buffers: Sequence[Tensor], x: Tensor) -> Tensor:
        named = dict(zip([*self._names, *self._buffer_names], [*parameters, *buffers], strict=True))
        return functional_call(self._network, named, x)  # type: ignore[no-any-return]

    def _loss(self, parameters: Sequence[Tensor], buffers: Sequence[Tensor], x: Tensor, y: Tensor) -> Tensor:
        return self._of_outputs(self._forward(parameters, buffers, x), y)


def _stacked(of_members: Iterable[Iterable[Tensor]]) -> list[Tensor]:
    """Return the stacked tensors of the members, and turn the members' own into views of them."""
    stacked = []
    for of_all in zip(*of_members, strict=True):
        places = torch.stack([tensor.detach() for tensor in of_all])
        for number, tensor in enumerate(of_all):
            tensor.data = places[number]
        stacked.append(places)
    return stacked
