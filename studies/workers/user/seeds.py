"""Seed every generator that a training is likely to draw from, so that no random state needs to be saved."""

from __future__ import annotations

import random
import sys

from caviar.models.seeding import derive


def seed_all(*parts: int | str) -> None:
    """Seed `random`, NumPy's and PyTorch's generators, on all devices, by a seed that depends on all `parts`.

    A package that is not loaded has drawn nothing, and is left out.
    """
    seed = derive(*parts)
    random.seed(seed)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(seed % 2**32)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(seed)
