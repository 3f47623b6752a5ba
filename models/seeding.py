"""Seeds derived from the purpose of random numbers, so that no random state needs to be saved.

Weights, shuffles and dropout are drawn from generators seeded by (seed, purpose, epoch): an epoch that is trained
in another process, on another machine or after a resumption draws exactly what it would have drawn at first.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager


def derive(*parts: int | str) -> int:
    """Return a seed of 63 bits that depends on all `parts` and their order, the same on every machine."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8]) >> 1


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed `random`, NumPy and torch inside the `with` block, and give each its own state back behind it."""
    import numpy as np
    import torch

    before, numpys = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        random.seed(seed)
        np.random.seed(seed % 2**32)
        torch.default_generator.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(before)
            np.random.set_state(numpys)
