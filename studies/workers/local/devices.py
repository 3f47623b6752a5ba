"""Choose the devices of this machine's workers, each of which is pinned to one."""

from __future__ import annotations

import os

from caviar.limits import WORKERS
from caviar.studies.errors import OptionError
from caviar.text import whole_number


def cores() -> int:
    """Return the number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def visible_gpus() -> int:
    """Return the number of CUDA devices that torch sees."""
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def check_workers(workers: int, least: int = 1) -> None:
    """Check the number of workers that one command is to start."""
    if not least <= workers <= WORKERS:
        raise OptionError(f"{workers} workers: give {least} to {WORKERS}")


def check_places(gpus: str | None, per_gpu: int, workers: int | None) -> None:
    """Check what `places` is given, but for whether there are such GPUs."""
    check_workers(per_gpu)
    check_workers(workers or 1)
    if gpus not in (None, "all", "none"):
        _numbers(gpus)


def places(gpus: str | None, per_gpu: int, workers: int | None, available: int) -> list[str]:
    """Return a device for each worker, GPUs first.

    A worker on a CPU uses one thread, so workers share the cores without being in each other's way.

    Args:
        gpus: `all`, `none`, or numbers such as `0,2`; None stands for `all` if `workers` is None, else for `none`.
        workers: the number of workers on the CPU; None stands for one on each core if no GPU is used, else for 0.
    """
    check_places(gpus, per_gpu, workers)
    if gpus is None:
        gpus = "all" if workers is None else "none"
    chosen = _chosen(gpus, available)
    on_cpu = workers if workers is not None else (0 if chosen else cores())
    devices = [f"cuda:{number}" for number in chosen for _ in range(per_gpu)] + ["cpu"] * on_cpu
    if not devices:
        raise OptionError("there is nothing to work on: give --workers 1 or more, or --gpus all")
    check_workers(len(devices))
    return devices


def spread(workers: int, available: int) -> list[str]:
    """Return a device for each of a number of workers: the GPUs in turn, or the CPU where there are none."""
    return [f"cuda:{number % available}" if available else "cpu" for number in range(workers)]


def _chosen(gpus: str, available: int) -> list[int]:
    if gpus in ("all", "none"):
        return list(range(available)) if gpus == "all" else []
    numbers = _numbers(gpus)
    missing = [number for number in numbers if number >= available]
    if missing:
        there = f"0 to {available - 1}" if available else "none"
        raise OptionError(f"--gpus {gpus}: torch sees no GPU {missing[0]} here; there are: {there}")
    return numbers


def _numbers(gpus: str) -> list[int]:
    words = gpus.split(",")
    numbers = [number for word in words if (number := whole_number(word.strip())) is not None]
    if len(numbers) < len(words) or len(set(numbers)) < len(numbers):
        raise OptionError(f"--gpus {gpus}: give all, none, or numbers such as 0,2")
    return numbers
