"""What answers say where the noise of a training decides."""

from __future__ import annotations

import math

from caviar.studies.search.noise import Noise

_NEAR = 2.0  # times the noise of a difference: what is closer together than that may differ by luck alone
UNKNOWN = "one training of each does not show how much they vary"


def differs(noise: Noise) -> str:
    """Return the noise in words, which are the same in all answers."""
    return f"one training differs from another by {noise}"


def reach(noise: Noise) -> float:
    """Return by how much two trainings of one configuration may come to differ: both have the noise."""
    return _NEAR * math.sqrt(2) * noise.deviation
