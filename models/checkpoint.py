"""Checkpoints: the state of a training as bytes. Only tensors and plain values are read; nothing is unpickled."""

from __future__ import annotations

import io
import pickle
from typing import Any

import torch

from caviar.models.errors import BadCheckpoint

_VERSION = 1


def to_bytes(state: dict[str, Any]) -> bytes:
    """Return the state of a training as bytes; its tensors may be on any device."""
    buffer = io.BytesIO()
    torch.save({"version": _VERSION, **state}, buffer)
    return buffer.getvalue()


def from_bytes(data: bytes, device: torch.device) -> dict[str, Any]:
    """Return the state of a training, with its tensors on a device.

    Raises:
        BadCheckpoint: the bytes are no such state, or another version of this program wrote them.
    """
    try:
        state = torch.load(io.BytesIO(data), map_location=device, weights_only=True)
    except (RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        raise BadCheckpoint(f"a checkpoint of {len(data)} bytes cannot be read: {error}") from error
    if not isinstance(state, dict) or state.get("version") != _VERSION:
        raise BadCheckpoint(f"a checkpoint of another version; this program writes and reads version {_VERSION}")
    return state
