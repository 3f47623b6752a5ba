"""Which devices are worked on, for every way to ask."""

from __future__ import annotations

import pytest

from caviar.studies.errors import OptionError
from caviar.studies.workers.local.devices import cores, places, spread


@pytest.mark.parametrize(
    ("gpus", "per_gpu", "workers", "available", "expected"),
    [
        (None, 1, None, 2, ["cuda:0", "cuda:1"]),
        (None, 2, None, 1, ["cuda:0", "cuda:0"]),
        ("all", 1, None, 2, ["cuda:0", "cuda:1"]),
        ("0,2", 1, None, 3, ["cuda:0", "cuda:2"]),
        ("none", 1, 2, 4, ["cpu", "cpu"]),
        (None, 1, 3, 4, ["cpu", "cpu", "cpu"]),  # who asks for processes on the CPU gets those
        ("1", 1, 2, 2, ["cuda:1", "cpu", "cpu"]),
        (None, 1, None, 0, ["cpu"] * cores()),
        ("none", 1, None, 4, ["cpu"] * cores()),
    ],
)
def test_places(gpus: str | None, per_gpu: int, workers: int | None, available: int, expected: list[str]) -> None:
    assert places(gpus, per_gpu, workers, available) == expected


@pytest.mark.parametrize(
    ("gpus", "workers", "available", "message"),
    [
        ("2", None, 2, "torch sees no GPU 2 here; there are: 0 to 1"),
        ("0", None, 0, "there are: none"),
        ("first", None, 2, "give all, none, or numbers such as 0,2"),
        ("0,0", None, 2, "give all, none, or numbers such as 0,2"),
        ("0,", None, 2, "give all, none, or numbers such as 0,2"),
        ("none", 0, 2, "there is nothing to work on"),
    ],
)
def test_what_cannot_be_had(gpus: str, workers: int | None, available: int, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        places(gpus, 1, workers, available)


def test_workers_take_the_gpus_in_turn() -> None:
    assert spread(3, 2) == ["cuda:0", "cuda:1", "cuda:0"]
    assert spread(2, 0) == ["cpu", "cpu"]


@pytest.mark.parametrize(
    ("gpus", "workers", "available", "expected"),
    [
        (None, None, 4, ["cuda:0,cuda:1", "cuda:2,cuda:3"]),
        ("all", None, 5, ["cuda:0,cuda:1", "cuda:2,cuda:3"]),
        ("0,2,3", 1, 4, ["cuda:0,cuda:2", "cpu,cpu"]),
        ("none", 2, 4, ["cpu,cpu", "cpu,cpu"]),
        (None, None, 0, ["cpu,cpu"] * max(1, cores() // 2)),
    ],
)
def test_trials_of_two_gpus_have_them_for_themselves(
    gpus: str | None, workers: int | None, available: int, expected: list[str]
) -> None:
    assert places(gpus, 1, workers, available, ranks=2) == expected


def test_gpus_that_do_not_suffice_for_a_trial_are_refused() -> None:
    with pytest.raises(OptionError, match="each trial of this study has 2 GPUs; 1 are given"):
        places("0", 1, None, 4, ranks=2)
    with pytest.raises(
        OptionError, match="--workers-per-gpu 2: each trial of this study has 2 GPUs of its own; give 1"
    ):
        places("all", 2, None, 4, ranks=2)
    with pytest.raises(OptionError, match=r"3 workers: .* torch sees 4 here; give at most 2"):
        spread(3, 4, ranks=2)
    with pytest.raises(OptionError, match="torch sees 1 here; give a study of fewer gpus="):
        spread(1, 1, ranks=2)


def test_workers_of_several_ranks_have_several_devices() -> None:
    assert spread(2, 4, ranks=2) == ["cuda:0,cuda:1", "cuda:2,cuda:3"]
    assert spread(1, 0, ranks=3) == ["cpu,cpu,cpu"]
