"""The environment variables of a command: this process's own, without what leads to the database."""

from __future__ import annotations

import os
from collections.abc import Mapping

# Caviar's own variables and those of libpq: they may have a password, and a training needs none of them.
_HIDDEN = ("CAVIAR_", "PG")


def environment(device: str, given: Mapping[str, object]) -> dict[str, str]:
    """Return the variables of a command that trains on a device.

    Args:
        device: such as cpu or cuda:1; of several GPUs the command sees that one alone.
        given: those that Caviar gives.
    """
    variables = {name: value for name, value in os.environ.items() if not name.startswith(_HIDDEN)}
    variables.setdefault("PYTHONUNBUFFERED", "1")  # else lines come late, and many at once
    if device.startswith("cuda"):
        index = int(device.partition(":")[2] or 0)
        visible = [one for one in variables.get("CUDA_VISIBLE_DEVICES", "").split(",") if one]
        variables["CUDA_VISIBLE_DEVICES"] = visible[index] if visible else str(index)
    return variables | {name: str(value) for name, value in given.items()}
