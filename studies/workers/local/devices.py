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


def processes_of_program() -> int:
    """Return how many processes this program has, by the variables of torchrun."""
    return whole_number(os.environ.get("WORLD_SIZE", "1")) or 1


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


def split_place(place: str) -> tuple[str, ...]:
    """Return the devices of a worker's place, of which there are several where a trial has several GPUs."""
    return tuple(place.split(","))


def first_devices(kind: str, count: int) -> tuple[str, ...]:
    """Return so many devices of a kind, cpu or cuda, the first ones of this machine."""
    return tuple(f"cuda:{number}" if kind == "cuda" else "cpu" for number in range(count))


def places(gpus: str | None, per_gpu: int, workers: int | None, available: int, ranks: int = 0) -> list[str]:
    """Return the place of each worker, GPUs first: a device, or several with commas between them.

    A worker on a CPU uses one thread, so workers share the cores without being in each other's way.

    Args:
        gpus: `all`, `none`, or numbers such as `0,2`; None stands for `all` if `workers` is None, else for `none`.
        workers: the number of workers on the CPU; None stands for one on each core if no GPU is used, else for 0.
        ranks: processes of each trial, which have a GPU each that nothing else uses; 0 for a worker that trains itself.
    """
    check_places(gpus, per_gpu, workers)
    if ranks:
        return _group_places(gpus, per_gpu, workers, available, ranks)
    if gpus is None:
        gpus = "all" if workers is None else "none"
    chosen = _chosen(gpus, available)
    on_cpu = workers if workers is not None else (0 if chosen else cores())
    devices = [f"cuda:{number}" for number in chosen for _ in range(per_gpu)] + ["cpu"] * on_cpu
    if not devices:
        raise OptionError("there is nothing to work on: give --workers 1 or more, or --gpus all")
    check_workers(len(devices))
    return devices


def _group_places(gpus: str | None, per_gpu: int, workers: int | None, available: int, ranks: int) -> list[str]:
    if per_gpu > 1:
        raise OptionError(f"--workers-per-gpu {per_gpu}: each trial of this study has {ranks} GPUs of its own; give 1")
    chosen = _chosen(gpus or ("all" if workers is None else "none"), available)
    if chosen and len(chosen) < ranks:
        raise OptionError(f"each trial of this study has {ranks} GPUs; {len(chosen)} are given, so let more be used")
    if workers is None:
        workers = 0 if chosen else max(1, cores() // ranks)
    groups = [chosen[at : at + ranks] for at in range(0, len(chosen) - ranks + 1, ranks)]
    found = [",".join(f"cuda:{number}" for number in group) for group in groups]
    found += [",".join(["cpu"] * ranks)] * workers
    if not found:
        raise OptionError("there is nothing to work on: give --workers 1 or more, or --gpus all")
    check_workers(len(found))
    return found


def spread(workers: int, available: int, ranks: int = 0) -> list[str]:
    """Return the place of each of a number of workers: the GPUs in turn, or the CPU where there are none.

    Args:
        ranks: processes of each trial, which have a GPU each that nothing else uses; 0 for a worker that trains itself.
    """
    if ranks and available:
        if workers * ranks > available:
            raise OptionError(
                f"{workers} workers: each trial of this study has {ranks} GPUs of its own, and torch sees {available} "
                f"here; give {f'at most {available // ranks}' if available >= ranks else 'a study of fewer gpus='}"
            )
        return [",".join(f"cuda:{worker * ranks + rank}" for rank in range(ranks)) for worker in range(workers)]
    if ranks:
        return [",".join(["cpu"] * ranks)] * workers
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
