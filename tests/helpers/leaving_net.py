"""A network that hangs, or leaves the process, as the files in a folder say, each of which is taken once."""

from __future__ import annotations

import ctypes
import os
import signal
import threading
from pathlib import Path

from torch import Tensor, nn

NET = "tests.helpers.leaving_net:Net"


class Net(nn.Module):
    """A linear model whose training does what the names of files say: hang, exit, or die."""

    def __init__(self, sample: tuple[int, ...], classes: int, *, folder: str) -> None:
        super().__init__()
        self.out = nn.Linear(sample[1] * sample[2], classes)
        self.folder = Path(folder)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.fail()
        return self.out(x.flatten(1))  # type: ignore[no-any-return]

    def fail(self) -> None:
        for file in sorted(self.folder.iterdir()):
            file.unlink()
            match file.suffix:
                case ".hang":
                    threading.Event().wait()
                case ".exit":
                    os._exit(0)
                case ".leave":
                    ctypes.CDLL(None)._exit(0)  # as a library written in C may
                case ".die":
                    os.kill(os.getpid(), signal.SIGSEGV)
