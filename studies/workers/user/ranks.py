"""The processes that train one trial together, and how all of them obey the first one."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from caviar.epoch import Epoch
from caviar.studies.workers.trial.training import Ended
from caviar.studies.workers.user.channel import Message

_PATIENCE = timedelta(days=365)  # with a rank that waits for the database, or for an epoch of its own


class Ranks:
    """The ranks of the default process group of `torch.distributed`, which has been initialised.

    What Caviar sends goes through a group of its own, so that it never mixes with what the training sends.

    Args:
        device: the one that this rank trains on.
    """

    def __init__(self, device: torch.device) -> None:
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        default = dist.group.WORLD
        assert default is not None, "it has been initialised"
        self._training: Any = default._get_backend(device)  # it is typed without its number
        group = dist.new_group(backend="gloo", timeout=_PATIENCE)
        assert isinstance(group, dist.ProcessGroup), "every rank is in it"
        self._group = group

    @property
    def collectives(self) -> int:
        """How many collectives of the default group this rank has begun: as many as each other one, sooner or later."""
        return int(self._training._get_sequence_number_for_group())

    def tell(self, message: Message) -> None:
        """Send a message to all other ranks; only rank 0 does."""
        self.tell_bytes(json.dumps(message).encode())

    def hear(self) -> Message:
        """Wait for the next message of rank 0."""
        message: Message = json.loads(self.hear_bytes())
        return message

    def tell_bytes(self, data: bytes) -> None:
        """Send bytes to all other ranks; only rank 0 does."""
        self._broadcast(torch.tensor([len(data)]))
        self._broadcast(torch.frombuffer(bytearray(data), dtype=torch.uint8))

    def hear_bytes(self) -> bytes:
        """Wait for bytes of rank 0."""
        size = torch.zeros(1, dtype=torch.int64)
        self._broadcast(size)
        data = torch.empty(int(size), dtype=torch.uint8)
        self._broadcast(data)
        return data.numpy().tobytes()

    def tell_all_is_over(self) -> None:
        """Tell the other ranks of a program that there are no more trials."""
        with suppress(RuntimeError):  # they have come to their end
            self.tell(OVER)

    def _broadcast(self, tensor: torch.Tensor) -> None:
        dist.broadcast(tensor, 0, group=self._group)


# What the worker says, and rank 0 tells the others.
GO_ON: Message = {"do": "go on"}
SAVE: Message = {"do": "save"}
OVER: Message = {"do": "leave"}  # there are no more trials


def meet(device: torch.device) -> Ranks:
    """Return the ranks of this program, which find one another unless they have already."""
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if not dist.is_initialized():
        dist.init_process_group(backend(device))
    return Ranks(device)


def backend(device: torch.device) -> str:
    """Return the backends of `torch.distributed` for ranks that train on such a device."""
    return "gloo" if device.type == "cpu" else "cpu:gloo,cuda:nccl"


def end(ended: Ended) -> Message:
    """Return the message that the trial goes on no more."""
    return {"do": "end", "ended": str(ended)}


class Follower:
    """The worker's turns of a rank other than the first: it does what rank 0 says.

    Args:
        save: puts the state together, which takes all ranks.

    Attributes:
        is_over: whether rank 0 has left all trials, in the middle of this one; it says nothing more.
    """

    def __init__(self, ranks: Ranks, save: Callable[[], Any]) -> None:
        self._ranks, self._save = ranks, save
        self.is_over = False

    def turn(self, epoch: Epoch | None = None) -> Ended | None:  # noqa: ARG002 - what rank 0 reports counts
        """Wait until rank 0 goes on, or the trial has ended, as `Loop` asks for it."""
        while (message := self._ranks.hear()) != GO_ON:
            if message == OVER:
                self.is_over = True
                return Ended.LOST
            if message != SAVE:
                return Ended(message["ended"])
            self._save()
        return None

    def finish(self) -> None:
        """Wait until the trial has ended; the training has come to its end by itself."""
        while self.turn() is None:
            pass  # rank 0 trains on, or has told of its last epoch
