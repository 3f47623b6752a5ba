"""The best size of a cohort on this device, by a short measurement."""

from __future__ import annotations

import timeit
from collections.abc import Callable

import torch

from caviar.models.cohort import Cohort
from caviar.models.data import Data, Part
from caviar.models.training import Training

_SIZES = (4, 8, 16, 32, 64)
_GAIN = 1.1  # speed that a larger cohort must gain, since its trials learn less from one another
_SECONDS = 0.03  # the shortest measurement of one network
_BATCHES = (4, 64)  # the fewest and the most batches in a measurement
_SLOW = 0.25  # seconds: a slower batch keeps its device busy alone, and a measurement would take long
_TURNS = 3  # repetitions of a measurement, of which the fastest counts


def measure(make: Callable[[int], Training], limit: int) -> tuple[int, float]:
    """Return the size of a cohort that pays, and how many times as fast each of its members trains as alone.

    A size that needs more memory than there is does not count. If no cohort pays, as with wide layers, large batches,
    or convolutions on a CPU, the size is 1, and the speed-up is that of the smallest cohort.

    Args:
        make: makes a training of the kind, by its number.
        limit: the largest size to try.
    """
    first = make(0)
    whole, size = first.data, first.settings.batch_size
    few = _part_of(whole, _BATCHES[0] * size)
    batch = _seconds([first], few) / _BATCHES[0]
    if batch > _SLOW:
        return 1, 1.0
    data = _part_of(whole, size * int(min(max(_SECONDS / batch, _BATCHES[0]), _BATCHES[1])))
    alone = best = _seconds([make(0)], data)
    chosen, times = 1, 0.0
    for count in [*(size for size in _SIZES if size < limit), limit]:
        try:
            seconds = _seconds([make(number) for number in range(count)], data) / count
        except torch.OutOfMemoryError:
            break
        times = times or alone / seconds
        if seconds * _GAIN > best:
            break
        chosen, best, times = count, seconds, alone / seconds
    torch.cuda.empty_cache()  # for other processes; without a GPU it does nothing
    return chosen, times


def _seconds(trainings: list[Training], data: Data) -> float:
    """Return the seconds that an epoch takes, evaluation included."""
    for training in trainings:
        training.data = data
    one = trainings[0]
    epoch = Cohort(trainings).epoch if len(trainings) > 1 else lambda: next(one.epochs(one.epoch + 1))
    return min(timeit.repeat(epoch, number=1, repeat=_TURNS))


def _part_of(data: Data, examples: int) -> Data:
    """Return the first `examples` training examples, and as large a share of the validation examples."""
    share = min(1.0, examples / len(data.training.y))
    held_out = max(1, int(share * len(data.validation.y)))
    return Data(
        Part(data.training.x[:examples], data.training.y[:examples]),
        Part(data.validation.x[:held_out], data.validation.y[:held_out]),
        data.outputs,
    )
