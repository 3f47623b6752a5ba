"""The environment variables of a process that trains: this process's own, without what leads to the database."""

from __future__ import annotations

import os
from collections.abc import Mapping, MutableMapping, Sequence

# Caviar's own variables and those of libpq: they may have a password, and a training needs none of them.
_HIDDEN = ("CAVIAR_", "PG")


def environment(devices: Sequence[str], given: Mapping[str, object]) -> dict[str, str]:
    """Return the variables of a command that trains on devices.

    Args:
        devices: such as cpu or cuda:1; of all GPUs the command sees these alone.
        given: those that Caviar gives.
    """
    variables = {name: value for name, value in os.environ.items() if not name.startswith(_HIDDEN)}
    variables.setdefault("PYTHONUNBUFFERED", "1")  # else lines come late, and many at once
    if devices[0].startswith("cuda"):
        variables["CUDA_VISIBLE_DEVICES"] = visible_devices(devices, variables)
    return variables | {name: str(value) for name, value in given.items()}


def own_device(device: str) -> str:
    """Return what a process that sees its own GPUs alone calls the first: cuda:0 instead of cuda:1, say."""
    return "cuda:0" if device.startswith("cuda") else device


def visible_devices(devices: Sequence[str], variables: Mapping[str, str] = os.environ) -> str:
    """Return the value of CUDA_VISIBLE_DEVICES that leaves these GPUs of the visible ones, such as cuda:1."""
    indices = [int(device.partition(":")[2] or 0) for device in devices]
    visible = [one for one in variables.get("CUDA_VISIBLE_DEVICES", "").split(",") if one]
    return ",".join(visible[index] if visible else str(index) for index in indices)


def hide(variables: MutableMapping[str, str]) -> None:
    """Remove what leads to the database."""
    for name in [name for name in variables if name.startswith(_HIDDEN)]:
        del variables[name]
