"""States whose tensors are divided among the ranks of a trial, as by FSDP: whole in a checkpoint, divided in memory."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.optim import Optimizer

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor


def gathered(state: Any, *, wanted: bool = True) -> Any:
    """Return a state with whole tensors, on the CPU, in place of divided ones. All ranks have to call it.

    One tensor is put together at a time, so that no device needs memory for all of them.

    Args:
        wanted: whether this rank uses the result; another one's has no numbers.
    """

    def whole(tensor: DTensor) -> Tensor:
        full = tensor.full_tensor().detach()
        return full.cpu() if wanted else full.new_empty(0)

    return _replace(state, whole) if _has_divided(state) else state


def divided(state: Any, part: Any) -> Any:
    """Return a state of whole tensors as a network or an optimizer takes it whose parameters are divided.

    Each rank takes its own share of what it has read; nothing is sent.
    """
    if isinstance(part, nn.Module):
        own = part.state_dict()
        if _has_divided(own) and isinstance(state, Mapping):
            return {name: _like(value, own.get(name)) for name, value in state.items()}
    elif isinstance(part, Optimizer):
        parameters = [parameter for group in part.param_groups for parameter in group["params"]]
        if _has_divided(parameters):
            indices = [index for group in state["param_groups"] for index in group["params"]]
            own = dict(zip(indices, parameters, strict=False))
            moments = {
                index: {name: _like(value, own.get(index)) for name, value in of_parameter.items()}
                for index, of_parameter in state["state"].items()
            }
            return {**state, "state": moments}
    return state


def _like(value: Any, own: Any) -> Any:
    """Return a tensor divided as another one of the same shape is; anything else as it is."""
    if not (isinstance(value, Tensor) and _is_divided(own) and value.shape == own.shape):
        return value
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(value, own.device_mesh, own.placements, src_data_rank=None)


def _is_divided(value: Any) -> bool:
    if "torch.distributed.tensor" not in sys.modules:  # it takes a second to load, and nobody has divided anything
        return False
    from torch.distributed.tensor import DTensor

    return isinstance(value, DTensor)


def _has_divided(state: Any) -> bool:
    if isinstance(state, Mapping):
        return any(map(_has_divided, state.values()))
    if isinstance(state, list | tuple):
        return any(map(_has_divided, state))
    return _is_divided(state)


def _replace(state: Any, whole: Callable[[DTensor], Tensor]) -> Any:
    if isinstance(state, Mapping):
        return {name: _replace(value, whole) for name, value in state.items()}
    if isinstance(state, list | tuple):
        return type(state)(_replace(value, whole) for value in state)
    return whole(state) if _is_divided(state) else state
