"""What a launch asks for: numbers in their ranges, and the command of each worker."""

from __future__ import annotations

from typing import Any

import pytest

from caviar.studies.errors import OptionError
from caviar.studies.launch.request import LaunchRequest


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "--gpus none --workers 1"),
        ({"gpus": 2}, "--gpus all"),
        ({"gpus": 0.5}, "--gpus all"),
        ({"gpus": 1, "workers_per_gpu": 3}, "--gpus all --workers-per-gpu 3"),
        ({"options": ("--epoch-timeout", "a b")}, "--gpus none --workers 1 --epoch-timeout 'a b'"),
        ({"grace": 60.0}, "--gpus none --workers 1 --grace 60"),
    ],
)
def test_the_command_of_a_worker(fields: dict[str, Any], words: str) -> None:
    assert LaunchRequest("small", **fields).command() == f"caviar join small --restartable {words}"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"workers": 0}, "--workers 0: give 1 to 10,000"),
        ({"workers": 10_001}, "--workers 10,001"),
        ({"gpus": 1.5}, "--gpus-per-worker 1.5: give 0 to 256, or a part of one"),
        ({"gpus": -1}, "--gpus-per-worker -1"),
        ({"gpus": float("nan")}, "--gpus-per-worker nan"),
        ({"workers_per_gpu": 0}, "--workers-per-gpu 0"),
        ({"workers_per_gpu": 2}, "give --gpus-per-worker 1 or more with it"),
        ({"gpus": 1, "workers_per_gpu": 257}, "--workers-per-gpu 257: give 1 to 256"),
        ({"grace": -1.0}, "--grace -1: give 0 to "),
        ({"grace": float("inf")}, "--grace inf: give 0 to "),
        ({"seconds": 100.0}, "--time: give 120s to 365d"),
        ({"seconds": 300.0, "grace": 600.0}, "--time: give 1280s to 365d"),
        ({"seconds": 365 * 86_400 + 1.0}, "--time: give 120s to 365d"),
    ],
)
def test_what_cannot_be_asked_for_names_what_can(fields: dict[str, float], said: str) -> None:
    with pytest.raises(OptionError, match=said):
        LaunchRequest("small", **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "fields",
    [
        {"workers": 10_000, "grace": 0.0, "seconds": 120.0},
        {"gpus": 256, "workers_per_gpu": 256, "seconds": 365 * 86_400.0},
    ],
)
def test_the_ends_of_each_range_can_be_asked_for(fields: dict[str, float]) -> None:
    assert LaunchRequest("small", **fields)  # type: ignore[arg-type]


def test_a_worker_hears_of_its_end_earlier_by_any_part_of_a_second_of_grace() -> None:
    assert [LaunchRequest("small", grace=grace).leaving_seconds for grace in (1, 1.2, 2)] == [41, 42, 42]


@pytest.mark.parametrize(
    ("study", "label"),
    [
        ("digits", "caviar-digits"),
        ("My_Net.v2", "caviar-my-net-v2"),
        ("x" * 100, "caviar-" + "x" * 33),
        ("x" * 32 + "_2", "caviar-" + "x" * 32),  # none ends with a dash
    ],
)
def test_a_label_is_one_that_kubernetes_takes(study: str, label: str) -> None:
    assert LaunchRequest(study).label == label
