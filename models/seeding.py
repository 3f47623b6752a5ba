"""Seeds derived from the purpose of random numbers, so that no random state needs to be saved.

Weights, shuffles and dropout are drawn from generators seeded by (seed, purpose, epoch): an epoch that is trained
in another process, on another machine or after a resumption draws exactly what it would have drawn at first.
"""

from __future__ import annotations

import hashlib


def derive(*parts: int | str) -> int:
    """Return a seed of 63 bits that depends on all `parts` and their order, the same on every machine."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8]) >> 1
