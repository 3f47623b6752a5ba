"""Networks whose training waits more than it computes, so that many workers share two cores as if they were many."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from pathlib import Path
from random import Random

from torch import Tensor

from caviar.models.mlp import MLP

_SECONDS = 0.015  # of each batch; an epoch of the study has three


class SlowNet(MLP):
    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            time.sleep(_SECONDS)
        return super().forward(x)


class FickleNet(SlowNet):
    """Hangs, leaves or crashes in one batch of so many, and notes each time in the file that CHAOS_NOTES names.

    A trial whose training does so three times in a row is given up, as is documented: networks of one shape do it twice
    at most.
    """

    one_in = 300
    _random: tuple[int, Random] | None = None  # by process: a fork must not have its parent's

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            if FickleNet._random is None or FickleNet._random[0] != os.getpid():
                FickleNet._random = os.getpid(), Random(f"{os.environ.get('CHAOS_SEED', '0')} {os.getpid()}")
            if FickleNet._random[1].randrange(self.one_in) == 0 and self._failures() < 2:
                self._fail(FickleNet._random[1].choice(("hang", "leave", "leave with an error", "crash")))
        return super().forward(x)

    @property
    def _shape(self) -> str:
        return " ".join(str(tuple(parameter.shape)) for parameter in self.parameters())

    def _failures(self) -> int:
        return Path(os.environ["CHAOS_NOTES"]).read_text().count(f"\t{self._shape}\n")

    def _fail(self, how: str) -> None:
        with Path(os.environ["CHAOS_NOTES"]).open("a") as notes:
            notes.write(f"{how}\t{self._shape}\n")
        if how == "hang":
            time.sleep(3600)
        elif how == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        ctypes.CDLL(None)._exit(0 if how == "leave" else 3)  # os._exit would be an error of the trial


class CountedNet(SlowNet):
    """Notes each epoch that it is trained for in the file that CHAOS_NOTES names."""

    def train(self, mode: bool = True) -> CountedNet:
        begins = mode and sys._getframe(1).f_code.co_filename.endswith("models/training.py")  # not the rehearsal
        if begins:
            with Path(os.environ["CHAOS_NOTES"]).open("a") as notes:
                notes.write("epoch\n")
        super().train(mode)
        return self
